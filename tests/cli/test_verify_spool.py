"""What the spool of this machine tells `verify`."""

from pathlib import Path

import pytest

from auditpipe.cli.verify_spool import LocalSpool
from tests.emitters.test_archive import event, folder_of


def test_it_says_what_it_holds_and_which_streams_go_on(tmp_path: Path) -> None:
    folder_of(tmp_path, "dead", [event(1), event(2), event(3)])
    spool = LocalSpool(tmp_path)
    assert spool.held("s1", 2, 9) == 2
    assert spool.held("another", 1, 9) == 0
    assert (spool.lives("s1"), spool.lives("another")) == (False, None)


def test_there_is_none_on_most_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = LocalSpool(tmp_path / "absent")
    assert (spool.held("s1", 1, 9), spool.lives("s1")) == (0, None)
    assert capsys.readouterr().err == ""


def test_one_that_can_not_be_read_is_a_note_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spool").write_text("")
    spool = LocalSpool(tmp_path / "spool")
    assert (spool.held("s1", 1, 9), spool.lives("s1"), spool.held("s2", 1, 9)) == (0, None, 0)
    err = capsys.readouterr().err
    assert err.startswith("note: what the spool of this machine holds is not known: the spool ")
    assert err.count("\n") == 1


def test_one_that_can_no_longer_be_read_is_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, "dead", [event(1)])
    spool = LocalSpool(tmp_path)
    assert spool.held("s1", 1, 9) == 1
    [segment] = folder.glob("*.seg")
    segment.unlink()
    segment.mkdir()
    assert spool.held("s1", 1, 9) == 0
    assert capsys.readouterr().err.startswith("note: ")
