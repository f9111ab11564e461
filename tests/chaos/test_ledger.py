"""The ledger outlives its emitter, and says no more than was so."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos import ledger
from tests.chaos.crew import ROOT
from tests.chaos.recovery import first_kept, last_kept
from tests.stored import environment
from tests.waiting import until


def test_a_line_without_its_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / f"e1{ledger.SUFFIX}"
    path.write_bytes(b"intent e1.1\nintent e1.2\nkept e1.2 s 1 i")
    assert ledger.read(tmp_path) == ledger.Ledger((), frozenset({"e1.1", "e1.2"}), frozenset())


def test_what_a_killed_emitter_had_noted_is_there(tmp_path: Path) -> None:
    """Its spool too, but nobody listens here: that it gets there is the campaign's to show."""
    path = tmp_path / f"e1{ledger.SUFFIX}"
    command = [sys.executable, "-m", "tests.chaos.emitter", "--ledger", str(path), "--spool", str(tmp_path / "spool")]
    process = subprocess.Popen([*command, "--forward", "127.0.0.1:1"], cwd=ROOT, env=environment())
    try:
        until(lambda: path.exists() and len(ledger.read(tmp_path).kept) >= 3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    book = ledger.read(tmp_path)
    assert len(book.undecided) <= 1
    assert len({one.id for one in book.kept}) == len(book.kept) >= 3
    assert first_kept(ledger.lines(path)) == book.kept[0].id
    assert last_kept(ledger.lines(path)) == book.kept[-1].id
