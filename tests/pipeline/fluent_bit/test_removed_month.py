"""Late events of a month that retention removed, through a real Fluent Bit: dead letters, and none waits for them."""

import threading
from time import sleep

import pytest

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.pipeline.retention import holds
from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.schemas.identity import parse_time
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.pipeline.fluent_bit.conftest import Make
from tests.pipeline.fluent_bit.test_shipping import all_stored, count
from tests.pipeline.retention.test_retention import month
from tests.stored import organization, store
from tests.waiting import until

pytestmark = [pytest.mark.opensearch, pytest.mark.fluent_bit]
GONE, SHUT, OPEN = "2006-01", "2006-02", "2006-03"


def test_they_become_dead_letters_with_that_reason_and_their_neighbours_are_stored(
    fluent_bit: Make, opensearch: RealOpenSearch
) -> None:
    org, (gone, shut, living) = organization(), (parse_time(f"{name}-10T10:00:00Z") for name in (GONE, SHUT, OPEN))
    held, *others = (event(time, organization__id=org) for time in (shut, shut + 1, gone))
    client, admin = opensearch.client(), opensearch.admin
    signer, trust = Signer.read(admin), Trust.read(admin)
    store(opensearch, [held, *others, event(living)])
    keep = Filters(organization=org, since_ns=shut, until_ns=shut + 1)
    holds.add(client, signer, trust, (f"case-{org}", keep, "Doe v. Example"))
    remover = Remover(client, signer, trust, keep=1, reason="a test")
    assert [remover.remove(month(opensearch, name)).kept for name in (GONE, SHUT)] == [0, 1]

    late = [*others, event(gone + 5), event(shut + 5)]
    new = [event(living + i) for i in range(1, 4)]
    shipper = fluent_bit(retries=1)
    shipper.send([late[0], new[0], held, *late[1:3], new[1], late[3], new[2]])
    until(lambda: all_stored(opensearch, new))
    until(lambda: shipper.rejected() and not shipper.waiting())
    sleep(dead.QUIET_SECONDS)
    folder = shipper.launch.rejected
    Replayer(open_transport(opensearch.shipper)).until_done(dead.files(folder), threading.Event(), patience=30)
    letters = [letter for file in dead.files(folder) for letter in dead.letters_of(file)]
    assert sorted(str(letter.id) for letter in letters) == sorted(one["event"]["id"] for one in late)
    assert {letter.reason.type for letter in letters} == {"removed_by_retention"}
    assert not client.indices.exists(index="audit-events-2006.01")
    assert (count(opensearch, "audit-events-2006.02"), count(opensearch, "audit-events-2006.03")) == (1, 4)

    holds.release(client, signer, trust, f"case-{org}", "settled")
    assert remover.remove(month(opensearch, SHUT)).removed == 1  # and no month is left that takes no event
