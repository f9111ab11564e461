"""`auditpipe spool` as whoever runs the machine meets it."""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import msgpack
import pytest

from auditpipe.cli.entry import main
from auditpipe.emitters import AuditLog
from auditpipe.emitters.forward import entry
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool import frames
from auditpipe.emitters.spool.backlog import Backlog, Position, segment_path
from tests.emitters.peer import Peer, acknowledge
from tests.emitters.test_archive import MOMENT, event, folder_of
from tests.emitters.test_delivery import never, unused_address
from tests.stored import COMMAND, environment, run
from tests.waiting import until

HOSTILE = "\x1b[31mred\u202e"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir(mode=0o700)
    return path


def place(spool: Path, peer: Peer | None = None) -> dict[str, str]:
    address = peer.address if peer else unused_address()
    return {"AUDITPIPE_SPOOL_DIR": str(spool), "AUDITPIPE_FORWARD": address, "AUDITPIPE_HOME": str(spool / "no-home")}


def replay(capsys: pytest.CaptureFixture[str], spool: Path, peer: Peer | None, *arguments: str) -> tuple[int, str]:
    forward = peer.address if peer else unused_address()
    code = main(["spool", "replay", *arguments, "--spool-dir", str(spool), "--forward", forward])
    return code, capsys.readouterr().err


def listed(spool: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, object]]]:
    code = main(["spool", "list", "--spool-dir", str(spool), "-o", "json"])
    return code, {row["folder"]: row for row in json.loads(capsys.readouterr().out)}


def test_list_says_whose_each_folder_is_and_what_is_in_it(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(spool, "dead", [event(1), event(2), event(3)], acknowledged=1)
    folder_of(spool, "done", [event(1)], acknowledged=1)
    with AuditLog("s", forward=unused_address(), spool_dir=spool, exit_timeout=0) as living:
        living.emit("user.login_succeeded")
        until(lambda: listed(spool, capsys)[1]["dead"]["state"] == "left")  # its adopter gives it up again
        code, rows = listed(spool, capsys)
    assert code == 1
    assert (rows["dead"]["waiting_events"], rows["dead"]["kept_events"]) == (2, 1)
    assert rows["dead"]["waiting_bytes"] == 2 * len(event(1))
    assert rows["dead"]["oldest"] == rows["dead"]["oldest_waiting"] == "2026-10-10T10:00:00.000000001Z"
    assert (rows["done"]["state"], rows["done"]["oldest_waiting"]) == ("kept", None)
    [name] = rows.keys() - {"dead", "done"}
    assert (rows[name]["state"], rows[name]["waiting_events"], rows[name]["damaged_bytes"]) == ("in use", 1, 0)


def test_what_another_process_sends_is_being_sent(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(spool, "dead", [event(1)])
    [orphan] = folders.orphans(spool)
    with orphan:
        code, rows = listed(spool, capsys)
        assert (code, rows["dead"]["state"]) == (0, "being sent")
    assert listed(spool, capsys)[1]["dead"]["state"] == "left"


def test_list_on_a_terminal_adds_up_and_says_what_to_do(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(spool, "a", [event(1), event(2)])
    path = folder_of(spool, "b", [event(3)], acknowledged=1)
    segment_path(path, 1).write_bytes(segment_path(path, 1).read_bytes() + b"\0\0\0\0")
    assert main(["spool", "list", "--spool-dir", str(spool)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:4] == ["a", "left", "2", str(2 * len(event(1)))]
    assert out.splitlines()[2].split()[-1] == "4"
    assert "2 events wait, the oldest for " in err
    assert "1 are acknowledged and kept" in err
    assert "2 events are left by processes that are gone: `auditpipe spool drain` sends them" in err
    assert "4 bytes are damaged" in err


def test_an_append_that_a_kill_cut_short_is_no_finding(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder_of(spool, "a", [event(1)], acknowledged=1)
    for size in (3, 10, 50):
        whole = frames.encode(event(1))
        segment_path(path, 1).write_bytes(whole + whole[:size])
        code, rows = listed(spool, capsys)
        assert (code, rows["a"]["cut_short_bytes"], rows["a"]["damaged_bytes"]) == (0, size, 0)


def test_nothing_is_there(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(spool, capsys) == (0, {})
    assert main(["spool", "list", "--spool-dir", str(spool / "typo")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["spool", "show", "nobody", "--spool-dir", str(spool)]) == 2
    assert "no folder nobody" in capsys.readouterr().err
    assert main(["spool", "list"]) == 0  # the default one need not exist


def test_a_folder_that_cannot_be_read_hides_no_other(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither from `list` nor from `drain`, as on a disk that is dying."""
    segment_path(folder_of(spool, "bad", [event(1)]), 1).unlink()
    segment_path(spool / "bad", 1).mkdir()
    folder_of(spool, "good", [event(2)])
    assert main(["spool", "list", "--spool-dir", str(spool), "-o", "json"]) == 3
    out, err = capsys.readouterr()
    assert [row["state"] for row in json.loads(out)] == ["unreadable", "left"]
    assert "00000001.seg: can't be read" in err
    with Peer() as peer:
        done = run("spool", "drain", "--timeout", "1", env=place(spool, peer))
        assert done.code == 3
        assert "1 events were sent" in done.err
        assert "can't be read" in done.err
        assert [record["audit"]["sequence"] for record in peer.records] == [2]


def test_a_spool_that_is_not_private_is_not_sent(spool: Path) -> None:
    """Others could have planted events in it."""
    folder_of(spool, "a", [event(1)])
    spool.chmod(0o770)
    with Peer() as peer:
        done = run("spool", "drain", "--timeout", "0.5", env=place(spool, peer))
        assert done.code == 3
        assert "can be written by others" in done.err
        assert peer.records == []


def test_show_has_a_line_for_each_event_that_is_meant(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Peer() as peer, AuditLog("s", forward=peer.address, spool_dir=spool) as audit:
        events = [event_ for n in range(5) if (event_ := audit.emit("user.login_succeeded", actor=f"u{n}"))]
        stream = events[0].audit.stream
        assert audit.flush(120)
    folder_of(spool, "dead", [event(7, stream)])
    at = ["--spool-dir", str(spool)]
    assert main(["spool", "show", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7  # five, the end of their stream, and one that waits
    assert lines[0].split() == [
        *(events[0].id, *events[0].timestamp[:19].split("T"), "user.login_succeeded", f"{stream}/1", "acknowledged"),
    ]
    assert lines[-1].split()[-2:] == [f"{stream}/7", "waiting"]
    assert main(["spool", "show", *at, "--stream", stream, "--from", "2", "--to", "4", "-o", "ndjson"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert shown == [event_.document() for event_ in events[1:4]]
    for arguments, count in ((["dead"], 1), (["--waiting"], 1), (["--until", "2026-10-10"], 0), (["--since", "1h"], 6)):
        assert main(["spool", "show", *at, *arguments]) == 0
        assert len(capsys.readouterr().out.splitlines()) == count, arguments
    assert main(["spool", "show", *at, "--from", "2"]) == 2


def test_show_never_prints_what_a_terminal_obeys(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = event(1, HOSTILE, event={"id": HOSTILE, "action": HOSTILE}, message=HOSTILE)
    head = event(1)[:11]
    bad = [head + msgpack.packb({"message": b"\x1b[31m"}), head + msgpack.packb([HOSTILE]), event(2)]
    folder_of(spool, "a", [hostile, *bad])
    for output, lines in (("text", 3), ("ndjson", 2)):
        assert main(["spool", "show", "--spool-dir", str(spool), "-o", output]) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == lines
        assert "is no event" in err
        for text in (out, err):
            assert "\x1b" not in text
            assert "\u202e" not in text


def test_drain_sends_what_is_left_and_nothing_else(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(spool, "a", [event(1), event(2)], acknowledged=1)
    folder_of(spool, "b", [event(3)])
    with Peer() as peer:
        done = run("spool", "drain", env=place(spool, peer))
        assert done.code == 0, done
        assert "2 events were sent; nothing is left by processes that are gone" in done.said
        assert sorted(record["audit"]["sequence"] for record in peer.records) == [2, 3]
    code, rows = listed(spool, capsys)
    assert (code, {row["state"] for row in rows.values()}) == (0, {"kept"})


def test_drain_that_is_not_finished_says_how_many_wait_and_why(spool: Path) -> None:
    folder_of(spool, "a", [event(1), event(2)])
    done = run("spool", "drain", "--timeout", "0.5", env=place(spool))
    assert done.code == 3
    assert "0 events were sent, 2 in 1 folders still wait: 127.0.0.1:" in done.err
    assert "refused" in done.err


def test_drain_waits_for_what_another_process_is_sending(spool: Path) -> None:
    folder_of(spool, "a", [event(1)])
    [orphan] = folders.orphans(spool)
    with orphan, Peer() as peer:
        done = run("spool", "drain", "--timeout", "0.5", env=place(spool, peer))
    assert done.code == 3
    assert "another process" in done.err


def test_drain_on_watch_sends_what_comes_and_ends_with_sigterm(spool: Path) -> None:
    """Also what comes where there was no spool when it began."""
    late = spool / "late"
    with Peer(never) as peer:
        command = [*COMMAND, "spool", "drain", "--watch"]
        child = subprocess.Popen(command, env=environment(**place(late, peer)), stderr=subprocess.PIPE, text=True)
        late.mkdir(mode=0o700)
        folder_of(late, "a", [event(1)])
        until(lambda: len(peer.records) > 0)
        started = time.monotonic()
        child.send_signal(signal.SIGTERM)  # while it waits for an acknowledgement
        assert child.wait(120) == 0
        assert time.monotonic() - started < 25
        assert child.stderr is not None
        assert "sending what is left in" in child.stderr.read()
        peer.manner = acknowledge
        assert run("spool", "drain", env=place(late, peer)).code == 0


def test_replay_sends_again_and_changes_nothing(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(spool, "a", [event(n) for n in range(1, 9)], acknowledged=6)
    folder_of(spool, "b", [event(1, "other")], acknowledged=1)
    before = {path: path.read_bytes() for path in spool.rglob("*") if path.is_file()}
    with Peer() as peer:
        code, err = replay(capsys, spool, peer, "--stream", "s1", "--from", "3", "--to", "7")
        assert code == 0, err
        assert "4 events were sent again, and acknowledged" in err
        assert "1 more match and wait" in err
        assert [record["audit"]["sequence"] for record in peer.records] == [3, 4, 5, 6]
        assert replay(capsys, spool, peer)[0] == 0
        assert len(peer.records) == 4 + 7
        code, err = replay(capsys, spool, peer, "--stream", "s1", "--from", "8")
        assert (code, len(peer.records)) == (1, 11)
        assert "1 match and wait" in err
        assert replay(capsys, spool, peer, "--until", "2026-10-10")[0] == 1
        assert replay(capsys, spool, peer, "--from", "3")[0] == 2
    code, err = replay(capsys, spool, None)
    assert code == 3
    assert "0 of 7 events were acknowledged again" in err
    assert before == {path: path.read_bytes() for path in spool.rglob("*") if path.is_file()}


def test_replay_sends_chunks_and_says_how_far_it_came(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 events a chunk; the second chunk is never acknowledged."""
    folder_of(spool, "a", [entry(MOMENT, {"n": n}) for n in range(2500)])

    def first_only(peer: Peer, connection: object, chunk: str) -> None:
        if len(peer.chunks) == 1:
            acknowledge(peer, connection, chunk)  # type: ignore[arg-type]

    Backlog(spool / "a").acknowledge(Position(2, 0))
    with Peer(first_only) as peer:
        code, err = replay(capsys, spool, peer, "--timeout", "0.5")
    assert code == 3
    assert "2000 of 2500 events were acknowledged again" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for another user")
def test_root_acts_as_the_owner_of_the_spool() -> None:
    """Else a mark of root's would keep the application from its own folder. Not below pytest's folder: it is root's."""
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o711)
        spool = Path(outer) / "spool"
        spool.mkdir(mode=0o700)
        path = folder_of(spool, "a", [event(1)])
        for inner in [spool, *spool.rglob("*")]:
            os.chown(inner, 61742, 61742)
        with Peer() as peer:
            done = run("spool", "drain", env=place(spool, peer))
            assert done.code == 0, done
            assert "acting as user 61742" in done.err
            assert (path / "acknowledged").stat().st_uid == 61742
            Path(outer).chmod(0o700)
            done = run("spool", "drain", "--timeout", "0.5", env=place(spool, peer))
            assert done.code == 3, done  # that user can't come there either
            assert "Permission denied" in done.err


@pytest.mark.parametrize("command", ["drain", "replay"])
def test_authorities_that_cannot_be_read_are_named(spool: Path, command: str) -> None:
    folder_of(spool, "a", [event(1)], acknowledged=1)
    done = run("spool", command, env={**place(spool), "AUDITPIPE_FORWARD_CA_FILE": str(spool / "none.pem")})
    assert done.code == 2
    assert "AUDITPIPE_FORWARD_CA_FILE names" in done.said
