"""`auditpipe export` and `auditpipe verify` as processes, against a real node."""

import signal
import subprocess
import time
from pathlib import Path

import orjson
import pytest

from auditpipe.emitters import AuditLog
from tests.builders import stream
from tests.conftest import RealOpenSearch, free_port
from tests.stored import COMMAND, Ran, environment, organization, run, store

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, [*stream(8, organization__id=name), *stream(3, organization__id=name, user__name="=1+1")])
    return name


@pytest.fixture(scope="module")
def large(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, stream(3000, organization__id=name, step_ns=1000))
    return name


def auditpipe(opensearch: RealOpenSearch, folder: Path, *arguments: str) -> Ran:
    return run(*arguments, env=opensearch.environment(), cwd=folder)


def test_export_then_verify_then_alter_then_verify(opensearch: RealOpenSearch, org: str, tmp_path: Path) -> None:
    done = auditpipe(opensearch, tmp_path, "export", "--org", org, "--to", "f.ndjson", "--purpose", "p")
    assert (done.code, done.out) == (0, "")
    assert done.said == "11 events in f.ndjson, its manifest in f.ndjson.manifest.json"
    sound = auditpipe(opensearch, tmp_path, "verify", "f.ndjson")
    assert (sound.code, sound.out) == (0, "")
    assert sound.said.startswith("sound: 11 events in 2 streams (2 ")
    file = tmp_path / "f.ndjson"
    file.write_bytes(file.read_bytes().replace(b"Dow", b"Doe", 1))
    found = auditpipe(opensearch, tmp_path, "verify", "f.ndjson")
    assert found.code == 1
    assert "altered: its content does not have the hash that it carries\n    stream " in found.out
    assert found.said.startswith("findings: ")


def test_verify_needs_no_cluster_for_a_file(opensearch: RealOpenSearch, org: str, tmp_path: Path) -> None:
    auditpipe(opensearch, tmp_path, "export", "--org", org, "--to", "f")
    assert run("verify", "f", env={"AUDITPIPE_HOME": str(tmp_path)}, cwd=tmp_path).code == 0


def test_verify_of_the_index(opensearch: RealOpenSearch, org: str, tmp_path: Path) -> None:
    done = auditpipe(opensearch, tmp_path, "verify", "--org", org, "-o", "json", "--abandoned-after", "1e6")
    assert done.code == 0
    report = orjson.loads(done.out)
    assert report == {
        **{"findings": [], "verdict": "sound", "events": 11},
        **{"streams": 2, "closed_streams": 0, "open_streams": 2, "abandoned_streams": 0, "kinds": {}},
    }


def test_findings_as_json(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    name = organization()
    documents = stream(5, organization__id=name)
    store(opensearch, [*documents[:1], *documents[2:3], *documents[4:]])
    done = auditpipe(opensearch, tmp_path, "verify", "--org", name, "-o", "json")
    report = orjson.loads(done.out)
    assert done.code == 1
    assert report["kinds"] == {"gap": 2}
    assert [(flaw["sequence"], flaw["event_id"]) for flaw in report["findings"]] == [
        *[(3, documents[2]["event"]["id"]), (5, documents[4]["event"]["id"])]
    ]


def test_not_there_yet_is_exit_3(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    name = organization()
    documents = stream(3, organization__id=name, start_ns=time.time_ns() - 3_000_000_000)
    store(opensearch, [documents[0], documents[2]])
    done = auditpipe(opensearch, tmp_path, "verify", "--org", name, "--grace", "600")
    assert done.code == 3
    assert done.out.startswith("not arrived: number 2 before it")


def test_a_gap_in_a_file_says_what_to_ask_the_index(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    name = organization()
    documents = stream(3, organization__id=name, start_ns=time.time_ns() - 3_000_000_000)
    store(opensearch, [documents[0], documents[2]])
    auditpipe(opensearch, tmp_path, "export", "--org", name, "--to", "f")
    done = auditpipe(opensearch, tmp_path, "verify", "f")
    assert done.code == 1
    assert done.out.startswith("out of view: number 2 before it: not in this file")
    assert done.said.startswith("ask the index: 2 events in 1 streams")
    _, _, asked = done.out.splitlines()[0].partition("ask the index: auditpipe ")
    assert auditpipe(opensearch, tmp_path, *asked.split(), "--org", name).said.startswith("not finished: 2 events")
    store(opensearch, [documents[1]])
    assert auditpipe(opensearch, tmp_path, *asked.split(), "--org", name).said.startswith("sound: 3 events")


def test_a_file_of_one_event_whose_hash_does_not_hold(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(orjson.dumps(stream(1)[0]).replace(b"Dow", b"Doe") + b"\n")
    done = auditpipe(opensearch, tmp_path, "verify", "f")
    assert done.code == 1
    assert (
        "not verifiable: 1 events in 1 streams (1 not closed in this view); the hashes do not hold, not one of them"
        in done.err
    )


def test_what_the_spool_of_this_machine_still_has_is_said(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    name, spool = organization(), tmp_path / "spool"
    address = f"127.0.0.1:{free_port()}"  # nobody listens: what is emitted waits
    with AuditLog("accounts", organization=name, forward=address, spool_dir=spool, exit_timeout=0) as audit:
        emitted = [audit.emit("user.user.exported", occurred_at="2026-10-10T10:00:00Z") for _ in range(3)]
        documents = [event.document() for event in emitted if event is not None]
        store(opensearch, [documents[0], documents[2]])
        environment = {**opensearch.environment(), "AUDITPIPE_SPOOL_DIR": str(spool)}
        done = run("verify", "--org", name, env=environment)
    assert done.code == 1
    stream_id = documents[0]["audit"]["stream"]
    command = f"auditpipe spool replay --stream {stream_id} --from 2 --to 2"
    assert f"it is still in the spool of this machine: {command}\n" in done.out
    assert done.said.startswith("findings: 2 events in 1 streams (1 open); ")


def test_actions_that_the_catalogue_lacks_are_a_note_unless_they_are_named(
    opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    name = organization()
    store(opensearch, stream(2, organization__id=name, event__action="accounts.card.blocked"))
    done = auditpipe(opensearch, tmp_path, "verify", "--org", name)
    assert done.code == 0
    assert done.out.startswith("off catalogue: event.action: expected an action of the catalogue, got 'accounts.card.")
    assert "(2 events, the first of them)" in done.out
    (tmp_path / "own.json").write_text('{"actions": []}')
    done = auditpipe(opensearch, tmp_path, "verify", "--org", name, "--actions", "own.json")
    assert done.code == 1
    assert done.out.count("misfit: event.action: ") == 2


def test_a_full_stdout_is_said_and_withholds_the_manifest(
    opensearch: RealOpenSearch, large: str, tmp_path: Path
) -> None:
    command = [*COMMAND, "export", "--org", large, "--to", "-", "--manifest", "m"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(**opensearch.environment())
        )
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1] == (
        "auditpipe: stdout: No space left on device; what was written there is not all"
    )
    assert list(tmp_path.iterdir()) == []


def test_filtered_is_hash_only_and_csv_too(opensearch: RealOpenSearch, org: str, tmp_path: Path) -> None:
    assert auditpipe(opensearch, tmp_path, "verify", "--org", org, "--actor", "ada").said.startswith("hash only: ")
    auditpipe(opensearch, tmp_path, "export", "--org", org, "-o", "csv", "--to", "f.csv")
    done = auditpipe(opensearch, tmp_path, "verify", "f.csv")
    assert done.code == 0
    assert "hash only" in done.err
    (tmp_path / "f.csv.manifest.json").unlink()
    done = auditpipe(opensearch, tmp_path, "verify", "f.csv")
    assert done.code == 1
    assert "not verifiable" in done.err
    assert "'=1+1" in (tmp_path / "f.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "absent"), "can't be read"),
        (("verify", "f", "--org", "x"), "filters are for the index"),
        (("export", "--to", "f"), "is there already"),
        (("export", "--to", "absent/g"), "can't write there"),
        (("export", "--to", "g", "--manifest", "m"), "--manifest is for --to -"),
        (("export",), "Missing option '--to'"),
        (("export", "--to", ""), "--to: expected the name of a file"),
        (("export", "--to", "."), "expected the name of a file"),
        (("export", "--to", "-", "--manifest", ""), "--manifest: expected the name of a file"),
        (("export", "--to", "-", "--manifest", "f"), "is there already"),
    ],
)
def test_wrong_usage_is_exit_2(
    opensearch: RealOpenSearch, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "f").write_text("")
    done = auditpipe(opensearch, tmp_path, *arguments)
    assert done.code == 2
    assert said in done.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_to_stdout_with_a_manifest_elsewhere(opensearch: RealOpenSearch, org: str, tmp_path: Path) -> None:
    done = auditpipe(opensearch, tmp_path, "export", "--org", org, "--to", "-", "--manifest", "m.json")
    assert len(done.documents) == 11
    assert done.said.startswith("11 events; SHA-256 ")
    (tmp_path / "copy.ndjson").write_text(done.out)
    assert auditpipe(opensearch, tmp_path, "verify", "copy.ndjson", "--manifest", "m.json").code == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_ms", [0, 1, 10, 40])
def test_an_interrupted_export_leaves_all_or_nothing(
    opensearch: RealOpenSearch, large: str, tmp_path: Path, sign: signal.Signals, after_ms: int
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "export", "--org", large, "--to", "f"],
        **{"cwd": tmp_path, "stderr": subprocess.PIPE},
        env=environment(**opensearch.environment()),
    )
    while process.poll() is None and not list(tmp_path.iterdir()):
        time.sleep(0.0005)
    time.sleep(after_ms / 1000)
    process.send_signal(sign)
    _, err = process.communicate(timeout=180)
    left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left in ([], ["f", "f.manifest.json"])
    if not left:
        assert (process.returncode, err.strip()) == (130, b"")
