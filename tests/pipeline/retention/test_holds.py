"""Holds: nothing goes that one keeps, whenever it comes; none is recorded that can't be run or that names a person.

Months are of 1974 from July on, each of one test; no other test has them.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.retention import holds, ledger, remove_month, underway
from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.schemas.errors import BadFilter, Finding, NotFinished, UsageError
from auditpipe.schemas.identity import format_time, parse_time
from auditpipe.schemas.pseudonyms import read_keys
from auditpipe.schemas.records import HoldAdded
from tests.builders import Document, stream
from tests.conftest import RealOpenSearch
from tests.keys import write_keys
from tests.pipeline.retention.test_retention import AMONG_DELETIONS, BEFORE_REMOVAL, exists, killed, month
from tests.stored import Ran, store
from tests.waiting import until

pytestmark = pytest.mark.opensearch
EMAIL = "ada@example.com"


def stored(opensearch: RealOpenSearch, org: str, name: str, count: int = 6) -> list[Document]:
    begin = parse_time(f"{name}-10T00:00:00Z")
    return store(opensearch, stream(count, organization__id=org, start_ns=begin))


def only(document: Document, org: str) -> Filters:
    """The filters that match this event alone."""
    at = parse_time(document["@timestamp"])
    return Filters(organization=org, since_ns=at, until_ns=at + 1)


class Adding(threading.Thread):
    """A `hold add` beside a removal; started, it is on record when this returns."""

    def __init__(self, remover: Remover, name: str, filters: Filters) -> None:
        super().__init__(daemon=True)
        self._remover, self._wanted = remover, (name, filters, "x")
        self.kept: int | None = None

    def recorded(self) -> "Adding":
        self.start()
        until(self._is_recorded)
        return self

    def _is_recorded(self) -> bool:
        return self._wanted[0] in [hold.name for hold in holds.active(self._remover.client, self._remover.trust)]

    def run(self) -> None:
        remover, (_, filters, _) = self._remover, self._wanted
        holds.add(remover.client, remover.signer, remover.trust, self._wanted)
        self.kept = holds.kept_and_found(remover.client, filters)[0]


@contextmanager
def released(remover: Remover, *names: str) -> Iterator[None]:
    """At its end none of them holds."""
    try:
        yield
    finally:
        for name in {hold.name for hold in holds.active(remover.client, remover.trust)} & set(names):
            holds.release(remover.client, remover.signer, remover.trust, name, "x")


def test_what_is_held_while_a_removal_is_resumed_stays(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, name = stored(opensearch, org, "1974-07"), f"case-{org}"
    month(opensearch, "1974-07")
    killed(opensearch, "1974-07", BEFORE_REMOVAL)
    read = Remover._is_recorded

    def late(self: Remover, *given: Any) -> bool:
        found = read(self, *given)
        monkeypatch.setattr(Remover, "_is_recorded", read)
        holds.add(remover.client, remover.signer, remover.trust, (name, only(documents[1], org), "x"))
        return found

    monkeypatch.setattr(Remover, "_is_recorded", late)
    with released(remover, name):
        outcome = remover.remove(month(opensearch, "1974-07"))
        assert (outcome.removed, outcome.kept, outcome.record) == (5, 1, None)
        assert month(opensearch, "1974-07").held == {name: 1}
    remover.remove(month(opensearch, "1974-07"))


def test_what_is_held_while_events_are_removed_stays(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second run too: the first was ended among its deletions, by a look that a hold waits for."""
    documents, (first, second) = stored(opensearch, org, "1974-09", 9), (f"case-{org}", f"late-{org}")
    holds.add(remover.client, remover.signer, remover.trust, (first, only(documents[0], org), "x"))
    month(opensearch, "1974-09")
    killed(opensearch, "1974-09", AMONG_DELETIONS)
    with pytest.raises(NotFinished, match=f"hold {second} is on record, but .* of audit-events-1974.09 may still go"):
        underway.wait(remover.client, second, 0.1)
    underway.clear(remover.client, "audit-events-*")
    underway.wait(remover.client, second, 0.1)
    delete, adding = Remover._delete, Adding(remover, second, only(documents[8], org))

    def late(self: Remover, lines: Any) -> None:
        monkeypatch.setattr(Remover, "_delete", delete)
        adding.recorded()
        delete(self, lines)

    monkeypatch.setattr(remove_month, "_DELETED_AT_ONCE", 2)
    monkeypatch.setattr(Remover, "_delete", late)
    with released(remover, first, second):
        outcome = remover.remove(month(opensearch, "1974-09"))
        adding.join(120)
        assert (outcome.removed, outcome.kept, adding.kept) == (5, 2, 1)  # and two by the run that was ended
        assert month(opensearch, "1974-09").held == {first: 1, second: 1}
    remover.remove(month(opensearch, "1974-09"))


def test_a_hold_that_comes_after_the_last_look_does_not_say_that_it_keeps_what_goes(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, name = stored(opensearch, org, "1974-11"), f"case-{org}"
    looked, adding = Remover._still, Adding(remover, name, only(documents[1], org))
    looks: list[bool] = []

    def late(self: Remover, active: Any) -> bool:
        looks.append(looked(self, active))
        if len(looks) == 2:  # the first is before the record counts
            adding.recorded()
            adding.join(1)
            assert adding.is_alive() and adding.kept is None
        return looks[-1]

    monkeypatch.setattr(Remover, "_still", late)
    with released(remover, name):
        assert remover.remove(month(opensearch, "1974-11")).removed == 6
        adding.join(120)
        assert (looks, adding.kept, exists(opensearch, "1974-11")) == ([True, True], 0, False)


def test_a_query_that_the_node_cannot_read_is_not_recorded(
    opensearch: RealOpenSearch, remover: Remover, org: str, auditpipe: Callable[..., Ran]
) -> None:
    name = f"case-{org}"
    with pytest.raises(BadFilter, match="OpenSearch can't read this query"):
        holds.add(remover.client, remover.signer, remover.trust, (name, Filters(lucene="foo:("), "x"))
    assert auditpipe("hold", "add", name, "-q", "foo:(", "--reason", "x", profile="operator").code == 2
    ledger.refresh(remover.client)
    assert not list(ledger.find(remover.client, {"term": {"hold": name}}))


def test_a_recorded_hold_that_cannot_be_run_is_named(
    opensearch: RealOpenSearch, remover: Remover, org: str, auditpipe: Callable[..., Ran]
) -> None:
    [event], name = stored(opensearch, org, "1975-02", 1), f"case-{org}"
    about = {"@timestamp": format_time(time.time_ns()), "reason": "x", "by": remover.signer.subject}
    said = {"hold": name, "number": 1, "filter": {}, "query": {"query_string": {"query": "foo:("}}}
    broken = HoldAdded.model_validate(about | said)
    there = month(opensearch, "1975-02")
    ledger.add(remover.client, ledger.hold_id(name, 1), remover.signer.sign(broken.document()))
    ledger.refresh(remover.client)
    with released(remover, name):
        for command in (("show",), ("apply", "--keep", "1", "--yes")):
            told = auditpipe("retention", *command, profile="operator")
            assert (told.code, f"the query of hold {name} can't be run" in told.err) == (1, True), told.err
        with pytest.raises(Finding, match=f"hold {name}"):
            remover.remove(there)
    assert month(opensearch, "1975-02").events == 1
    remover.remove(there)
    assert event["@timestamp"].startswith("1975-02")


def test_with_keys_a_hold_has_pseudonyms_alone(
    opensearch: RealOpenSearch, org: str, remover: Remover, auditpipe: Callable[..., Ran], tmp_path: Path
) -> None:
    path, name = write_keys(tmp_path / "keys", f"new {'ab' * 32}", f"old {'cd' * 32}"), f"case-{org}"
    keys = read_keys(path)
    begin = parse_time("1975-04-10T00:00:00Z")
    for known_as in keys.known_as(EMAIL):
        store(opensearch, stream(1, organization__id=org, start_ns=begin, user__email=known_as))
    month(opensearch, "1975-04")
    flags = ("--org", org, "--actor", EMAIL, "--pseudonym-key-file", str(path))
    for words in (("--reason", f"on {EMAIL.upper()}"), ("-q", f'user.email:"{EMAIL}"', "--reason", "x")):
        refused = auditpipe("hold", "add", name, *flags, *words, profile="operator")
        assert (refused.code, "holds the value of --actor" in refused.err) == (2, True), refused.err
    with released(remover, name):
        added = auditpipe("hold", "add", name, *flags, "--reason", "x", profile="operator")
        assert (added.code, f"hold {name} keeps 2 events" in added.err) == (0, True), added.err
        assert "1 more have a value in plain, which this hold does not keep" in added.err
        [(_, document)] = ledger.find(remover.client, {"term": {"hold": name}})
        assert EMAIL not in str(document)
        assert document["filter"] == {"org": org, "actor": list(keys.pseudonyms(EMAIL))}
        assert month(opensearch, "1975-04").held == {name: 2}
        listed = auditpipe("hold", "list").out
        assert (EMAIL in listed, f"--actor {keys.pseudonym(EMAIL)}" in listed) == (False, True)
    remover.remove(month(opensearch, "1975-04"))


def test_a_name_in_plain_beside_its_pseudonym_is_refused(remover: Remover, org: str, tmp_path: Path) -> None:
    keys = read_keys(write_keys(tmp_path / "keys"))
    with pytest.raises(UsageError, match="the name holds the value of --user"):
        holds.add(remover.client, remover.signer, remover.trust, (f"{org}-Ada", Filters(user="ada", keys=keys), "x"))
