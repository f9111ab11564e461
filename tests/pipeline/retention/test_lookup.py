"""Which records explain a gap: only those that are signed, and that a month's removal followed."""

from typing import Any

import pytest

from auditpipe.pipeline.retention import ledger, scan
from auditpipe.pipeline.retention.ledger import parse
from auditpipe.pipeline.retention.removed_ranges import Removals, of_documents
from auditpipe.pipeline.retention.scan import Scanned
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.schemas.records import MonthRemoved, Record, Removed
from tests.builders import stream
from tests.pipeline.retention.authority import Authority, record
from tests.pipeline.retention.test_removed import hits

EVENTS = stream(4)
STREAM = EVENTS[0]["audit"]["stream"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def documents(authority: Authority) -> list[dict[str, Any]]:
    """A month's removal, and one batch of what went."""
    about = {"@timestamp": record()["@timestamp"], "record": "r1", "month": "2026-10"}
    ranges = [one for _, one in scan.ranges(hits(EVENTS[:2]), Scanned())]
    batch = Removed.model_validate({**about, "streams": [STREAM], "ranges": ranges})
    return [authority.signer.sign(one.document()) for one in (MonthRemoved.model_validate(about), batch)]


def test_a_signed_record_of_a_removed_month_explains_its_numbers(authority: Authority, documents: list[Any]) -> None:
    found = of_documents(documents, authority.trust)
    [part] = found.parts(STREAM, 1, 3)
    assert (part.first, part.last, part.month, part.record) == (1, 2, "2026-10", "r1")
    assert (part.previous, part.hash) == ("0" * 64, EVENTS[1]["audit"]["hash"])
    assert found.parts(STREAM, 3, 4) == []
    assert found.parts("another", 1, 9) == []
    assert list(found.flaws()) == []


def test_a_batch_of_a_run_that_removed_nothing_explains_nothing(authority: Authority, documents: list[Any]) -> None:
    assert of_documents(documents[1:], authority.trust).parts(STREAM, 1, 4) == []
    other = authority.signer.sign({**record(), "schema": "1.0", "record": "r2", "month": "2026-10"})
    assert of_documents([other, documents[1]], authority.trust).parts(STREAM, 1, 4) == []
    september = authority.signer.sign({**record(), "schema": "1.0", "record": "r1", "month": "2026-09"})
    assert of_documents([september, documents[1]], authority.trust).parts(STREAM, 1, 4) == []


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_was_altered_explains_nothing_and_is_a_finding(
    authority: Authority, documents: list[Any], which: int
) -> None:
    documents[which] = {**documents[which], "@timestamp": "2026-12-01T00:00:00.000000Z"}
    found = of_documents(documents, authority.trust)
    assert found.parts(STREAM, 1, 4) == []
    [flaw] = found.flaws()
    assert (flaw.kind, flaw.is_note) == ("record", False)
    assert "its signature does not hold" in flaw.detail


def test_a_signed_document_of_another_form_is_a_finding(authority: Authority, documents: list[Any]) -> None:
    batch = {name: value for name, value in documents[1].items() if name != "signature"}
    for form in ({**batch, "ranges": []}, {**batch, "more": 1}, {**batch, "kind": "other"}, {**batch, "ranges": "x"}):
        found = of_documents([documents[0], authority.signer.sign(form)], authority.trust)
        assert found.parts(STREAM, 1, 4) == []
        assert len(list(found.flaws())) == 1


def test_a_record_is_checked_once_however_many_gaps_there_are(
    authority: Authority, documents: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    problem = Trust.problem
    monkeypatch.setattr(Trust, "problem", lambda self, one: (checked.append(one["kind"]), problem(self, one))[1])
    forged = {**documents[1], "@timestamp": "2026-12-01T00:00:00.000000Z", "streams": [STREAM, "another"]}
    found = of_documents([*documents, forged], authority.trust)
    for name in (STREAM, "another", STREAM):
        for number in range(1, 50):
            assert bool(found.parts(name, number, number)) is (name == STREAM and number <= 2)
    assert sorted(checked) == ["month_removed", "removed", "removed"]
    assert len(list(found.flaws())) == 1


def test_of_the_index_few_batches_are_kept(authority: Authority, documents: list[Any]) -> None:
    names = [str(number) for number in range(5)]
    got: list[str] = []

    def get(name: str) -> dict[str, Any]:
        got.append(name)
        return dict(documents[1])

    found = Removals([("m", documents[0])], lambda _stream: names, get, authority.trust, 2)
    for _ in range(3):
        assert len(found.parts(STREAM, 1, 1)) == len(names)
    assert got == names
    assert found.parts("another", 1, 9) == []
    assert got == names * 2


@pytest.mark.parametrize("document", [{}, {"kind": 5}, {"streams": [5, STREAM]}, {"streams": "x"}])
def test_whatever_a_manifest_holds_is_no_traceback(authority: Authority, document: Any) -> None:
    assert of_documents([document], authority.trust).parts(STREAM, 1, 4) == []


def test_every_kind_reads_back_as_it_was_written(documents: list[Any]) -> None:
    for document in documents:
        read = parse(document)
        assert isinstance(read, Record)
        assert read.document() == document


def test_ids_follow_from_what_a_record_says() -> None:
    """The shipper asks for the first removal of a month by its name alone."""
    assert ledger.month_id("1999-01") == "removed-1999-01"
    assert ledger.month_id("1999-01", 2) == "removed-1999-01-2"
    assert ledger.hold_id("case-1", 2) == "hold-case-1-2"
