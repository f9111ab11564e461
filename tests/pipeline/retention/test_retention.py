"""Months removed on a real node: on record, told from a loss, and never half without anyone knowing.

Months are of 1973 and 1974, each of one test, since a stream goes on in the month after; no other test has them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditpipe.pipeline import access, provision, template
from auditpipe.pipeline.doctor import retention as doctor_retention
from auditpipe.pipeline.plan import State
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.relay.bulk import attempt
from auditpipe.pipeline.relay.records import Event, prepare_record
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.pipeline.retention import holds, ledger, months, remove_month
from auditpipe.pipeline.retention.months import Month
from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.pipeline.retention.shown import show
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.view import Terms
from auditpipe.schemas.errors import NoSuchEvent, OutOfReach
from auditpipe.schemas.identity import new_event_id, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import Document, stream
from tests.conftest import RealOpenSearch
from tests.pipeline.relay.running import running_relay
from tests.pipeline.relay.wire import Client, entry, event_time, message
from tests.pipeline.retention.authority import Authority
from tests.pipeline.verify.test_from_index import examine_as
from tests.stored import Ran, organization, store

pytestmark = pytest.mark.opensearch


def month(opensearch: RealOpenSearch, name: str) -> Month:
    opensearch.request("POST", f"/{months.index_of_month(name)}/_refresh?ignore_unavailable=true")
    return next(one for one in months.survey(opensearch.client(), Trust.read(opensearch.admin)) if one.month == name)


def exists(opensearch: RealOpenSearch, name: str) -> bool:
    return bool(opensearch.client().indices.exists(index=months.index_of_month(name)))


def blocked(opensearch: RealOpenSearch, name: str) -> bool:
    return month(opensearch, name).blocked


def examined(opensearch: RealOpenSearch, org: str, reader: Settings | None = None) -> tuple[list[Flaw], str]:
    terms = Terms(trust=Trust.read(opensearch.admin))
    return examine_as(opensearch, reader or opensearch.super_admin, Filters(organization=org), terms)


def across(start: str, org: str, count: int = 9, **fields: Any) -> list[Document]:
    """A stream that begins three events before the end of a month."""
    begin = parse_time(f"{start}T23:59:57Z")
    return stream(count, organization__id=org, start_ns=begin, name=new_event_id(begin), **fields)


def records(opensearch: RealOpenSearch, *clauses: Any) -> list[tuple[str, dict[str, Any]]]:
    ledger.refresh(opensearch.client())
    return list(ledger.find(opensearch.client(), *clauses))


def sent(opensearch: RealOpenSearch, *documents: Document) -> list[tuple[str, str]]:
    """What the relay and the replayer are told of these events, as the shipper's user."""
    events = [prepare_record(one, parse_time(one["@timestamp"]), "audit") for one in documents]
    known = [one for one in events if isinstance(one, Event)]
    assert len(known) == len(documents)
    return [(v.outcome.value, v.type) for v in attempt(open_transport(opensearch.shipper), known).verdicts]


def test_removed_is_told_from_lost_in_the_index_and_in_an_export(
    opensearch: RealOpenSearch, remover: Remover, org: str, tmp_path: Path, auditpipe: Callable[..., Ran]
) -> None:
    documents = store(opensearch, across("1973-01-31", org))
    lost = documents[5]
    opensearch.request("DELETE", f"/audit-events-1973.02/_doc/{lost['event']['id']}?refresh=true")
    outcome = remover.remove(month(opensearch, "1973-01"))
    assert (outcome.removed, outcome.kept, outcome.flawed) == (3, 0, {})
    assert not exists(opensearch, "1973-01")

    def told(flaws: list[Any]) -> list[tuple[str, int, str]]:
        return [(one["kind"], one["sequence"], one["detail"].partition(", on ")[0]) for one in flaws]

    removed = ("removed", 4, "by retention: 3 events of 1973-01")
    gap = ("gap", 7, "number 6 before it: missing; by their neighbours' times of 1973-02")
    report = orjson.loads(auditpipe("verify", "--org", org, "-o", "json").out)
    assert (report["verdict"], told(report["findings"])) == ("findings", [gap, removed])
    assert outcome.record in report["findings"][1]["detail"]

    file = str(tmp_path / "f.ndjson")
    assert auditpipe("export", "--org", org, "--to", file).code == 0
    report = orjson.loads(auditpipe("verify", file, "-o", "json").out)
    assert told(report["findings"]) == [gap, removed]
    nowhere = auditpipe("verify", file, "-o", "json", home=tmp_path)
    assert nowhere.code == 1, nowhere
    report = orjson.loads(nowhere.out)
    assert [(one["kind"], one["sequence"]) for one in report["findings"]] == [("out_of_view", 4), ("out_of_view", 7)]
    assert "no authority is named" in report["findings"][0]["detail"]


def test_a_reader_of_one_organization_is_told_too_and_of_no_other(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    other = organization()
    store(opensearch, [*across("1973-03-31", org), *across("1973-03-31", other)])
    remover.remove(month(opensearch, "1973-03"))
    reader = opensearch.add_user()
    access.grant(opensearch.client(opensearch.super_admin), access.Grant(str(reader.get("username")), "admin", org))
    flaws, said = examined(opensearch, org, reader)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    seen = [one for _, one in ledger.find(opensearch.client(reader))]
    assert {one["kind"] for one in seen} == {"removed", "month_removed"}
    assert {one["organization"]["id"] for one in seen if one["kind"] == "removed"} == {org}
    assert other not in str(seen)


def test_a_record_that_was_altered_or_forged_is_a_finding_and_explains_nothing(
    opensearch: RealOpenSearch, remover: Remover, org: str, tmp_path: Path
) -> None:
    store(opensearch, across("1973-05-31", org))
    remover.remove(month(opensearch, "1973-05"))
    client = opensearch.client()
    commit = ledger.get(client, "removed-1973-05")
    mine = {"term": {"organization.id": org}}
    [(doc_id, batch)] = records(opensearch, mine)
    assert examined(opensearch, org)[1] == "sound"

    def put(name: str, document: Any) -> None:
        client.index(index="audit-records", id=name, body=document, params={"refresh": "true"})

    [stretched] = batch["ranges"]
    forged = {**batch, "ranges": [{**stretched, "last": 99}]}
    try:
        for bad in (forged, Authority(tmp_path).signer.sign(forged)):
            put(doc_id, bad)
            flaws, said = examined(opensearch, org)
            assert ([flaw.kind for flaw in flaws], said) == (["gap", "record"], "findings")
        put(doc_id, batch)
        client.delete(index="audit-records", id="removed-1973-05", params={"refresh": "true"})
        assert [flaw.kind for flaw in examined(opensearch, org)[0]] == ["gap"]
    finally:
        put(doc_id, batch)
        put("removed-1973-05", commit)
    assert examined(opensearch, org)[1] == "sound"
    settings = opensearch.admin
    whole_of_may = Filters(since_ns=parse_time("1973-05-01T00:00:00Z"), until_ns=parse_time("1973-06-01T00:00:00Z"))
    put("removed-1973-05-9", forged)
    try:
        whole = examine_as(opensearch, opensearch.super_admin, whole_of_may, Terms(trust=Trust.read(settings)))[0]
        [flaw] = [flaw for flaw in whole if flaw.kind == "record"]
        assert "removed-1973-05-9 (about 1973-05): its signature does not hold" in flaw.detail
        checks = list(doctor_retention.examine(settings, client))
        assert [(one.level.value, one.sentence) for one in checks] == [("finding", flaw.detail)]
    finally:
        client.delete(index="audit-records", id="removed-1973-05-9", params={"refresh": "true"})


def test_what_a_hold_keeps_stays_and_goes_after_its_release(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    client, trust, signer = opensearch.client(), remover.trust, remover.signer
    documents = store(opensearch, across("1973-07-31", org))
    held, gone = documents[1], documents[0]
    wanted = Filters(
        organization=org, since_ns=parse_time(held["@timestamp"]), until_ns=parse_time(held["@timestamp"]) + 1
    )
    holds.add(client, signer, trust, (f"case-{org}", wanted, "Doe v. Example"))
    assert month(opensearch, "1973-07").held == {f"case-{org}": 1}

    outcome = remover.remove(month(opensearch, "1973-07"))
    assert (outcome.removed, outcome.kept) == (2, 1)
    assert show(opensearch.client(opensearch.super_admin), opensearch.super_admin, held["event"]["id"]) == held
    after = month(opensearch, "1973-07")
    assert (after.events, after.blocked, after.fate(1, remover.clock())) == (1, True, months.Fate.HELD)
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert flaws[0].detail.startswith("by retention: 2 events of 1973-07")
    assert sent(opensearch, gone, held, documents[4]) == [
        ("never", "removed_by_retention"), ("done", "duplicate"), ("done", "duplicate")
    ]  # fmt: skip
    assert [one.level.value for one in doctor_retention.examine(opensearch.admin, client)] == ["ok"]
    assert "audit-events-1973.07" in doctor_retention.kept_shut(client)

    holds.release(client, signer, trust, f"case-{org}", "settled")
    assert remover.remove(month(opensearch, "1973-07")).removed == 1
    assert not exists(opensearch, "1973-07")
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed", "removed"], "sound")
    assert len(records(opensearch, ledger.of_kinds("month_removed"), {"term": {"month": "1973-07"}})) == 2


KILLED = """
import os, signal
from auditpipe.pipeline.client import connect
from auditpipe.pipeline.retention import months, remove_month
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.schemas.settings import load

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{fault}
settings = load(profile="operator")
client, trust = connect(settings), Trust.read(settings)
[month] = [one for one in months.survey(client, trust) if one.month == "{month}"]
remove_month.Remover(client, Signer.read(settings), trust, 1).remove(month)
"""
BEFORE_REMOVAL = "remove_month.Remover._remove_index = killed"
AMONG_DELETIONS = """
remove_month._DELETED_AT_ONCE, delete = 2, remove_month.Remover._delete
def once(self, lines):
    remove_month.Remover._delete = killed
    delete(self, lines)
remove_month.Remover._delete = once
"""


def killed(opensearch: RealOpenSearch, name: str, fault: str) -> None:
    code = KILLED.format(fault=fault, month=name)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **opensearch.environment("operator")}, timeout=180
    )
    assert done.returncode == -signal.SIGKILL


def test_killed_between_record_and_removal_the_next_run_finishes(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    store(opensearch, across("1973-09-30", org))
    month(opensearch, "1973-09")
    killed(opensearch, "1973-09", BEFORE_REMOVAL)
    assert exists(opensearch, "1973-09")
    assert examined(opensearch, org) == ([], "sound")
    [check] = doctor_retention.examine(opensearch.admin, opensearch.client())
    assert (check.level.value, check.sentence.partition(" ")[0]) == ("finding", "1973-09")
    outcome = remover.remove(month(opensearch, "1973-09"))
    assert (outcome.removed, outcome.record) == (3, None)
    assert not exists(opensearch, "1973-09")
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert len(records(opensearch, {"term": {"month": "1973-09"}})) == 3  # one of each kind


def test_killed_among_its_deletions_the_next_run_finishes(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    """A late resend that comes while the month is open is removed again, by the record that is there."""
    documents = store(opensearch, stream(8, organization__id=org, start_ns=parse_time("1973-11-10T00:00:00Z")))
    kept = Filters(organization=org, since_ns=parse_time(documents[-1]["@timestamp"]))
    name = f"case-{org}"
    holds.add(opensearch.client(), remover.signer, remover.trust, (name, kept, "x"))
    month(opensearch, "1973-11")
    killed(opensearch, "1973-11", AMONG_DELETIONS)
    half = month(opensearch, "1973-11")
    assert (half.events, half.blocked) == (6, False)
    store(opensearch, documents[:1])
    outcome = remover.remove(month(opensearch, "1973-11"))
    assert (outcome.removed, outcome.kept, outcome.record) == (6, 1, None)
    after = month(opensearch, "1973-11")
    assert (after.events, after.blocked) == (1, True)
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert flaws[0].detail.startswith("by retention: 7 events of 1973-11")
    holds.release(opensearch.client(), remover.signer, remover.trust, name, "x")
    remover.remove(after)


def test_what_fails_before_the_record_counts_leaves_the_month_as_it_was(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = store(opensearch, across("1974-01-31", org))

    def fails(*_: object) -> None:
        raise OutOfReach("away")

    with monkeypatch.context() as patched:
        patched.setattr(remove_month._Draft, "commit", fails)
        with pytest.raises(OutOfReach):
            remover.remove(month(opensearch, "1974-01"))
    assert (month(opensearch, "1974-01").events, blocked(opensearch, "1974-01")) == (3, False)
    assert sent(opensearch, documents[0]) == [("done", "duplicate")]
    opensearch.request("DELETE", f"/audit-events-1974.01/_doc/{documents[1]['event']['id']}?refresh=true")
    assert [flaw.kind for flaw in examined(opensearch, org)[0]] == ["gap"]  # the draft explains nothing


def test_a_hold_that_comes_in_between_is_kept(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = store(opensearch, stream(3, organization__id=org, start_ns=parse_time("1974-03-10T00:00:00Z")))
    name, write = f"case-{org}", remove_month._Draft.write

    def late(self: Any, snapshot: Any) -> Any:
        written = write(self, snapshot)
        monkeypatch.setattr(remove_month._Draft, "write", write)
        wanted = Filters(organization=org, until_ns=parse_time(documents[1]["@timestamp"]))
        holds.add(remover.client, remover.signer, remover.trust, (name, wanted, "x"))
        return written

    monkeypatch.setattr(remove_month._Draft, "write", late)
    outcome = remover.remove(month(opensearch, "1974-03"))
    assert (outcome.removed, outcome.kept) == (2, 1)
    assert month(opensearch, "1974-03").events == 1
    holds.release(opensearch.client(), remover.signer, remover.trust, name, "x")
    remover.remove(month(opensearch, "1974-03"))


def test_late_events_are_dead_letters_show_says_why_and_the_month_is_not_made_again(
    opensearch: RealOpenSearch, remover: Remover, org: str, tmp_path: Path
) -> None:
    documents = store(opensearch, across("1974-05-31", org))
    waiting = stream(1, start_ns=parse_time("1975-01-01T00:00:00Z"), organization__id=org)
    outcome = remover.remove(month(opensearch, "1974-05"))
    assert sent(opensearch, documents[0], documents[5], waiting[0]) == [
        ("never", "removed_by_retention"), ("done", "duplicate"), ("again", "missing_index")
    ]  # fmt: skip
    with running_relay(opensearch.shipper, tmp_path / "dead") as relay:
        times = [(one, event_time(parse_time(one["@timestamp"]))) for one in (documents[1], documents[6])]
        client = Client(relay.port).send(message("packed", [entry(one, time) for one, time in times], "c"))
        assert client.acknowledgements(1) == ["c"]
        [letter] = relay.letters()
    assert (letter["id"], letter["reason"]["type"]) == (documents[1]["event"]["id"], "removed_by_retention")
    assert letter["reason"]["detail"].endswith(f"record {outcome.record}")
    with pytest.raises(NoSuchEvent, match=rf"1974-05 was removed by retention on .*, record {outcome.record}"):
        show(opensearch.client(opensearch.super_admin), opensearch.super_admin, documents[0]["event"]["id"])
    asked = {"docs": [{"_index": "audit-records", "_id": name} for name in ("removed-1974-05", outcome.record)]}
    told = opensearch.request("POST", "/_mget", asked, settings=opensearch.shipper)["docs"]
    assert [sorted(doc["_source"]) for doc in told] == [["@timestamp", "month", "record"]] * 2
    then = provision.Options(first_month=(1974, 5), clock=lambda: parse_time(documents[5]["@timestamp"]))
    steps = {step.name: step for step in provision.plan(opensearch.client(), then).steps}
    made = steps[template.index_name((1974, 5))]
    assert made.state is State.OK
    assert "removed by retention" in made.sentence


def test_the_commands(opensearch: RealOpenSearch, org: str, auditpipe: Callable[..., Ran]) -> None:
    """Everything before 1970-03 may go: nothing of another test's."""
    [event] = store(opensearch, stream(1, organization__id=org, start_ns=parse_time("1970-02-10T00:00:00Z")))
    today = datetime.now(UTC)
    keep = str((today.year - 1970) * 12 + today.month - 3)

    def certified(*arguments: str) -> Any:
        return auditpipe(*arguments, profile="operator")

    for arguments in (("retention", "apply", "--keep", keep, "--yes"), ("hold", "add", "x", "--reason", "y")):
        refused = auditpipe(*arguments)
        assert (refused.code, "admin certificate" in refused.err) == (4, True)
    assert certified("retention", "apply", "--keep", "0").code == 2

    added = certified("hold", "add", f"case-{org}", "--org", org, "--reason", "Doe")
    assert (added.code, f"hold case-{org} keeps 1 events" in added.err) == (0, True), added.err
    listed = orjson.loads(auditpipe("hold", "list", "-o", "json").out)
    [hold] = [one for one in listed if one["hold"] == f"case-{org}"]
    assert (hold["filter"], hold["reason"], hold["added_by"]) == ({"org": org}, "Doe", "CN=auditpipe-admin")
    assert certified("hold", "add", f"case-{org}", "--reason", "Doe").code == 2
    assert certified("retention", "apply", "--keep", keep, "--dry-run").code == 0
    assert certified("hold", "release", f"case-{org}", "--reason", "settled").code == 0
    assert f"case-{org}" not in auditpipe("hold", "list").out

    dry = certified("retention", "apply", "--keep", keep, "--dry-run")
    assert (dry.code, [line[:7] for line in dry.out.splitlines()]) == (1, ["MONTH  ", "1970-02"])
    asked = certified("retention", "apply", "--keep", keep)
    assert (asked.code, "add --yes" in asked.err) == (2, True)
    assert exists(opensearch, "1970-02")
    done = certified("retention", "apply", "--keep", keep, "--yes", "--reason", "policy")
    assert (done.code, "1970-02: 1 events removed; record retention-1970-02-" in done.err) == (0, True)
    assert "nothing to remove" in certified("retention", "apply", "--keep", keep, "--yes").err
    [row] = [one for one in orjson.loads(auditpipe("retention", "show", "-o", "json").out) if one["month"] == "1970-02"]
    assert (row["events"], row["record"].startswith("retention-1970-02-")) == (0, True)
    gone = auditpipe("show", event["event"]["id"])
    assert (gone.code, "its month 1970-02 was removed by retention on " in gone.err) == (5, True)
