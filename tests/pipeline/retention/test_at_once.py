"""Two runs of `retention apply` on one month at the same time: no event goes that neither has recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opensearchpy import OpenSearch

from auditpipe.pipeline.retention import remove_month, removed_ranges, underway
from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.identity import parse_time
from tests.builders import Document, stream
from tests.conftest import RealOpenSearch
from tests.pipeline.retention.test_retention import blocked, exists, month
from tests.stored import store

pytestmark = pytest.mark.opensearch


def events(name: str, org: str, number: int = 3) -> list[Document]:
    return stream(number, organization__id=org, start_ns=parse_time(f"{name}-10T00:00:00Z"))


def test_who_gives_up_leaves_the_month_shut_that_another_run_has_recorded(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(opensearch, events("1976-05", org))
    found, write = month(opensearch, "1976-05"), remove_month._Draft.write

    def as_another_commits(self: Any, snapshot: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(remove_month._Draft, "write", write)
            patched.setattr(Remover, "_remove_index", ended)
            with pytest.raises(KeyboardInterrupt):
                remover.remove(found)
        raise NotFinished("this one gives up")

    def ended(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(remove_month._Draft, "write", as_another_commits)
    with pytest.raises(NotFinished, match="gives up"):
        remover.remove(found)
    assert blocked(opensearch, "1976-05")
    monkeypatch.undo()
    assert remover.remove(month(opensearch, "1976-05")).removed == 3
    assert not exists(opensearch, "1976-05")


def test_what_comes_after_the_record_where_another_run_has_lifted_the_block_is_recorded_too(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = events("1976-07", org), events("1976-07", org, 1)
    store(opensearch, first)
    announced = underway.announced

    @contextmanager
    def after_a_late_event(client: OpenSearch, index: str) -> Iterator[None]:
        monkeypatch.undo()
        remover._unblock(index)
        store(opensearch, late)
        with announced(client, index):
            yield

    monkeypatch.setattr(underway, "announced", after_a_late_event)
    outcome = remover.remove(month(opensearch, "1976-07"))
    assert (outcome.removed, exists(opensearch, "1976-07")) == (4, False)
    known = removed_ranges.of_index(opensearch.client(), remover.trust)
    assert known is not None
    for document in (first[0], late[0]):
        assert known.parts(document["audit"]["stream"], 1, 1)
