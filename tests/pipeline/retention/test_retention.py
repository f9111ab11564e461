"""Months removed on a real node: on record, told from a loss, and never half without anyone knowing.

Months are of 1973, made as provisioning makes them, so that they are none of another test's.
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

from auditpipe.pipeline import access, doctor_retention, provision, template
from auditpipe.pipeline.plan import State
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import show
from auditpipe.pipeline.relay.bulk import attempt
from auditpipe.pipeline.relay.records import Event, prepare_record
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.pipeline.retention import holds, ledger, months, removal
from auditpipe.pipeline.retention.months import Month
from auditpipe.pipeline.retention.removal import Remover
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.pipeline.verify_event import Flaw
from auditpipe.pipeline.verify_view import Terms
from auditpipe.schemas.errors import NoSuchEvent, OutOfReach
from auditpipe.schemas.identity import new_event_id, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import Document, stream
from tests.conftest import RealOpenSearch
from tests.pipeline.retention.authority import Authority
from tests.pipeline.test_verify_index import examine_as
from tests.stored import environment, organization, store

pytestmark = pytest.mark.opensearch

OPTIONS = provision.Options(clock=lambda: parse_time("1973-01-01T00:00:00Z"))


@pytest.fixture(scope="module", autouse=True)
def provisioned(opensearch: RealOpenSearch) -> None:
    provision.provision(opensearch.client(), OPTIONS)


@pytest.fixture
def org() -> str:
    return organization()


@pytest.fixture
def remover(opensearch: RealOpenSearch) -> Remover:
    admin = opensearch.admin
    made = Remover(opensearch.client(), Signer.read(admin), Trust.read(admin), keep=1, reason="a test")
    made.check()
    return made


def month(opensearch: RealOpenSearch, name: str) -> Month:
    opensearch.request("POST", "/audit-events-*/_refresh")
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


def auditpipe(opensearch: RealOpenSearch, *arguments: str, profile: str = "local", **more: str) -> Any:
    env = environment(**opensearch.environment(profile), **more)
    command = [sys.executable, "-c", "from auditpipe.cli.entry import main; raise SystemExit(main())", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_removed_is_told_from_lost_in_the_index_and_in_an_export(
    opensearch: RealOpenSearch, remover: Remover, org: str, tmp_path: Path
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
    report = orjson.loads(auditpipe(opensearch, "verify", "--org", org, "-o", "json").stdout)
    assert (report["verdict"], told(report["findings"])) == ("findings", [gap, removed])
    assert outcome.record in report["findings"][1]["detail"]

    file = str(tmp_path / "f.ndjson")
    assert auditpipe(opensearch, "export", "--org", org, "--to", file).returncode == 0
    report = orjson.loads(auditpipe(opensearch, "verify", file, "-o", "json").stdout)
    assert told(report["findings"]) == [gap, removed]
    nowhere = {"AUDITPIPE_HOME": str(tmp_path), "AUDITPIPE_PROFILE": ""}
    report = orjson.loads(auditpipe(opensearch, "verify", file, "-o", "json", **nowhere).stdout)
    assert [(one["kind"], one["sequence"]) for one in report["findings"]] == [("out_of_view", 4), ("out_of_view", 7)]
    assert "no authority is named" in report["findings"][0]["detail"]


def test_a_reader_of_one_organization_is_told_too_and_of_no_other(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    other = organization()
    store(opensearch, [*across("1973-02-28", org), *across("1973-02-28", other)])
    remover.remove(month(opensearch, "1973-02"))
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
    store(opensearch, across("1973-03-31", org))
    remover.remove(month(opensearch, "1973-03"))
    client = opensearch.client()
    commit = ledger.get(client, "removed-1973-03")
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
        client.delete(index="audit-records", id="removed-1973-03", params={"refresh": "true"})
        assert [flaw.kind for flaw in examined(opensearch, org)[0]] == ["gap"]
    finally:
        put(doc_id, batch)
        put("removed-1973-03", commit)
    assert examined(opensearch, org)[1] == "sound"
    settings, client = opensearch.admin, opensearch.client()
    put("removed-1973-03-9", forged)
    try:
        whole = examine_as(opensearch, opensearch.super_admin, Filters(), Terms(trust=Trust.read(settings)))[0]
        [flaw] = [flaw for flaw in whole if flaw.kind == "record"]
        assert "removed-1973-03-9 (about 1973-03): its signature does not hold" in flaw.detail
        checks = list(doctor_retention.examine(settings, client))
        assert [(one.level.value, one.sentence) for one in checks] == [("finding", flaw.detail)]
    finally:
        client.delete(index="audit-records", id="removed-1973-03-9", params={"refresh": "true"})


def test_what_a_hold_keeps_stays_and_goes_after_its_release(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    client, trust, signer = opensearch.client(), remover.trust, remover.signer
    documents = store(opensearch, across("1973-04-30", org))
    held, gone = documents[1], documents[0]
    wanted = Filters(
        organization=org, since_ns=parse_time(held["@timestamp"]), until_ns=parse_time(held["@timestamp"]) + 1
    )
    holds.add(client, signer, trust, (f"case-{org}", wanted, "Doe v. Example"))
    assert month(opensearch, "1973-04").held == {f"case-{org}": 1}

    outcome = remover.remove(month(opensearch, "1973-04"))
    assert (outcome.removed, outcome.kept) == (2, 1)
    assert show(opensearch.client(opensearch.super_admin), held["event"]["id"]) == held
    after = month(opensearch, "1973-04")
    assert (after.events, after.blocked, after.fate(1, remover.clock())) == (1, True, months.Fate.HELD)
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert flaws[0].detail.startswith("by retention: 2 events of 1973-04")
    assert sent(opensearch, gone, held, documents[4]) == [
        ("never", "removed_by_retention"), ("done", "duplicate"), ("done", "duplicate")
    ]  # fmt: skip
    assert [one.level.value for one in doctor_retention.examine(opensearch.admin, client)] == ["ok"]
    assert "audit-events-1973.04" in doctor_retention.kept_shut(client)

    holds.release(client, signer, trust, f"case-{org}", "settled")
    assert remover.remove(month(opensearch, "1973-04")).removed == 1
    assert not exists(opensearch, "1973-04")
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed", "removed"], "sound")
    assert len(records(opensearch, ledger.of_kinds("month_removed"), ledger.of_month("1973-04"))) == 2


KILLED = """
import os, signal
from auditpipe.pipeline.client import connect
from auditpipe.pipeline.retention import months, removal
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.schemas.settings import load

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{fault}
settings = load(profile="operator")
client, trust = connect(settings), Trust.read(settings)
[month] = [one for one in months.survey(client, trust) if one.month == "{month}"]
removal.Remover(client, Signer.read(settings), trust, 1).remove(month)
"""
BEFORE_REMOVAL = "removal.Remover._remove_index = killed"
AMONG_DELETIONS = """
removal._DELETED_AT_ONCE, delete = 2, removal.Remover._delete
def once(self, lines):
    removal.Remover._delete = killed
    delete(self, lines)
removal.Remover._delete = once
"""


def killed(opensearch: RealOpenSearch, name: str, fault: str) -> None:
    code = KILLED.format(fault=fault, month=name)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **opensearch.environment("operator")}, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def test_killed_between_record_and_removal_the_next_run_finishes(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    store(opensearch, across("1973-05-31", org))
    month(opensearch, "1973-05")
    killed(opensearch, "1973-05", BEFORE_REMOVAL)
    assert exists(opensearch, "1973-05")
    assert examined(opensearch, org) == ([], "sound")
    [check] = doctor_retention.examine(opensearch.admin, opensearch.client())
    assert (check.level.value, check.sentence.partition(" ")[0]) == ("finding", "1973-05")
    outcome = remover.remove(month(opensearch, "1973-05"))
    assert (outcome.removed, outcome.record) == (3, None)
    assert not exists(opensearch, "1973-05")
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert len(records(opensearch, ledger.of_month("1973-05"))) == 3  # one of each kind


def test_killed_among_its_deletions_the_next_run_finishes(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    """A late resend that comes while the month is open is removed again, by the record that is there."""
    documents = store(opensearch, stream(8, organization__id=org, start_ns=parse_time("1973-06-10T00:00:00Z")))
    kept = Filters(organization=org, since_ns=parse_time(documents[-1]["@timestamp"]))
    name = f"case-{org}"
    holds.add(opensearch.client(), remover.signer, remover.trust, (name, kept, "x"))
    month(opensearch, "1973-06")
    killed(opensearch, "1973-06", AMONG_DELETIONS)
    half = month(opensearch, "1973-06")
    assert (half.events, half.blocked) == (6, False)
    store(opensearch, documents[:1])
    outcome = remover.remove(month(opensearch, "1973-06"))
    assert (outcome.removed, outcome.kept, outcome.record) == (6, 1, None)
    after = month(opensearch, "1973-06")
    assert (after.events, after.blocked) == (1, True)
    flaws, said = examined(opensearch, org)
    assert ([flaw.kind for flaw in flaws], said) == (["removed"], "sound")
    assert flaws[0].detail.startswith("by retention: 7 events of 1973-06")
    holds.release(opensearch.client(), remover.signer, remover.trust, name, "x")
    remover.remove(after)


def test_what_fails_before_the_record_counts_leaves_the_month_as_it_was(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = store(opensearch, across("1973-07-31", org))

    def fails(*_: object) -> None:
        raise OutOfReach("away")

    with monkeypatch.context() as patched:
        patched.setattr(removal._Draft, "commit", fails)
        with pytest.raises(OutOfReach):
            remover.remove(month(opensearch, "1973-07"))
    assert (month(opensearch, "1973-07").events, blocked(opensearch, "1973-07")) == (3, False)
    assert sent(opensearch, documents[0]) == [("done", "duplicate")]
    opensearch.request("DELETE", f"/audit-events-1973.07/_doc/{documents[1]['event']['id']}?refresh=true")
    assert [flaw.kind for flaw in examined(opensearch, org)[0]] == ["gap"]  # the draft explains nothing


def test_a_hold_that_comes_in_between_is_kept(
    opensearch: RealOpenSearch, remover: Remover, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = store(opensearch, stream(3, organization__id=org, start_ns=parse_time("1973-08-10T00:00:00Z")))
    name, write = f"case-{org}", removal._Draft.write

    def late(self: Any, snapshot: Any) -> Any:
        written = write(self, snapshot)
        monkeypatch.setattr(removal._Draft, "write", write)
        wanted = Filters(organization=org, until_ns=parse_time(documents[1]["@timestamp"]))
        holds.add(remover.client, remover.signer, remover.trust, (name, wanted, "x"))
        return written

    monkeypatch.setattr(removal._Draft, "write", late)
    outcome = remover.remove(month(opensearch, "1973-08"))
    assert (outcome.removed, outcome.kept) == (2, 1)
    assert month(opensearch, "1973-08").events == 1
    holds.release(opensearch.client(), remover.signer, remover.trust, name, "x")
    remover.remove(month(opensearch, "1973-08"))


def test_late_events_are_dead_letters_show_says_why_and_the_month_is_not_made_again(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    documents = store(opensearch, across("1973-09-30", org))
    waiting = stream(1, start_ns=parse_time("1975-01-01T00:00:00Z"), organization__id=org)
    outcome = remover.remove(month(opensearch, "1973-09"))
    assert sent(opensearch, documents[0], documents[5], waiting[0]) == [
        ("never", "removed_by_retention"), ("done", "duplicate"), ("again", "missing_index")
    ]  # fmt: skip
    with pytest.raises(NoSuchEvent, match=rf"1973-09 was removed by retention on .*, record {outcome.record}"):
        show(opensearch.client(opensearch.super_admin), documents[0]["event"]["id"])
    steps = {step.name: step for step in provision.plan(opensearch.client(), OPTIONS).steps}
    made = steps[template.index_name((1973, 9))]
    assert made.state is State.OK
    assert "removed by retention" in made.sentence


@pytest.mark.parametrize("role", ["audit_super_admin", "audit_admin", "audit_auditor", "audit_writer", None])
def test_nobody_without_the_certificate_adds_alters_or_removes_a_record(
    opensearch: RealOpenSearch, role: str | None
) -> None:
    who = opensearch.client(opensearch.add_user(*([role] if role else [])))
    forged = {"kind": "month_removed", "month": "1973-10", "record": "x"}
    for method, path, body in (
        ("PUT", "/audit-records/_create/removed-1973-10", forged),
        ("PUT", "/audit-records/_doc/removed-1973-10", forged),
        ("POST", "/_bulk", '{"create":{"_index":"audit-records","_id":"x"}}\n{}\n'),
        ("POST", "/audit-records/_update/x", {"doc": {}}),
        ("DELETE", "/audit-records/_doc/x", None),
        ("POST", "/audit-records/_delete_by_query", {"query": {"match_all": {}}}),
        ("DELETE", "/audit-records", None),
        ("PUT", "/audit-records/_mapping", {"properties": {}}),
    ):
        assert _refused(lambda m=method, p=path, b=body: who.transport.perform_request(m, p, body=b)), (method, path)
    reads = role in ("audit_super_admin", "audit_admin", "audit_auditor")
    assert _refused(lambda: who.search(index="audit-records")) is not reads
    assert _refused(lambda: who.get(index="audit-records", id="removed-1973-01", params={"ignore": 404})) is not reads


def _refused(call: Callable[[], Any]) -> bool:
    from opensearchpy.exceptions import TransportError

    try:
        answer = call()
    except TransportError as error:
        return error.status_code == 403
    if isinstance(answer, dict) and answer.get("errors"):
        return all(item["create"]["status"] == 403 for item in answer["items"])
    return isinstance(answer, dict) and answer.get("status") == 403


def test_the_shipper_reads_of_a_record_when_and_of_which_month(
    opensearch: RealOpenSearch, remover: Remover, org: str
) -> None:
    store(opensearch, across("1973-11-30", org))
    outcome = remover.remove(month(opensearch, "1973-11"))
    asked = {"docs": [{"_index": "audit-records", "_id": name} for name in ("removed-1973-11", outcome.record)]}
    told = opensearch.request("POST", "/_mget", asked, settings=opensearch.shipper)["docs"]
    assert [sorted(doc["_source"]) for doc in told] == [["@timestamp", "month", "record"]] * 2


def test_the_commands(opensearch: RealOpenSearch, org: str) -> None:
    """Everything before 1970-03 may go: nothing of another test's."""
    [event] = store(opensearch, stream(1, organization__id=org, start_ns=parse_time("1970-02-10T00:00:00Z")))
    today = datetime.now(UTC)
    keep = str((today.year - 1970) * 12 + today.month - 3)

    def certified(*arguments: str) -> Any:
        return auditpipe(opensearch, *arguments, profile="operator")

    for arguments in (("retention", "apply", "--keep", keep, "--yes"), ("hold", "add", "x", "--reason", "y")):
        refused = auditpipe(opensearch, *arguments)
        assert (refused.returncode, "admin certificate" in refused.stderr) == (4, True)
    assert certified("retention", "apply", "--keep", "0").returncode == 2

    added = certified("hold", "add", f"case-{org}", "--org", org, "--reason", "Doe")
    assert (added.returncode, f"hold case-{org} keeps 1 events" in added.stderr) == (0, True), added.stderr
    listed = orjson.loads(auditpipe(opensearch, "hold", "list", "-o", "json").stdout)
    [hold] = [one for one in listed if one["hold"] == f"case-{org}"]
    assert (hold["filter"], hold["reason"], hold["added_by"]) == ({"org": org}, "Doe", "CN=auditpipe-admin")
    assert certified("hold", "add", f"case-{org}", "--reason", "Doe").returncode == 2
    assert certified("retention", "apply", "--keep", keep, "--dry-run").returncode == 0
    assert certified("hold", "release", f"case-{org}", "--reason", "settled").returncode == 0
    assert f"case-{org}" not in auditpipe(opensearch, "hold", "list").stdout

    dry = certified("retention", "apply", "--keep", keep, "--dry-run")
    assert (dry.returncode, [line[:7] for line in dry.stdout.splitlines()]) == (1, ["MONTH  ", "1970-02"])
    asked = certified("retention", "apply", "--keep", keep)
    assert (asked.returncode, "add --yes" in asked.stderr) == (2, True)
    assert exists(opensearch, "1970-02")
    done = certified("retention", "apply", "--keep", keep, "--yes", "--reason", "policy")
    assert (done.returncode, "1970-02: 1 events removed; record retention-1970-02-" in done.stderr) == (0, True)
    assert "nothing to remove" in certified("retention", "apply", "--keep", keep, "--yes").stderr
    [row] = [
        one
        for one in orjson.loads(auditpipe(opensearch, "retention", "show", "-o", "json").stdout)
        if one["month"] == "1970-02"
    ]
    assert (row["events"], row["record"].startswith("retention-1970-02-")) == (0, True)
    gone = auditpipe(opensearch, "show", event["event"]["id"])
    assert (gone.returncode, "its month 1970-02 was removed by retention on " in gone.stderr) == (5, True)
