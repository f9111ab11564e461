"""Private files: all of one or nothing, after a power loss too."""

import os
import stat

import pytest

from auditpipe.pipeline.local.files import write_private


def test_a_private_file_and_its_name_are_on_disk_before_anyone_relies_on_it(tmp_path, monkeypatch):
    """Else a power loss leaves an empty key, password or record under a name that is taken for a good one."""
    path, synced, fsync = tmp_path / "key", [], os.fsync

    def seen(descriptor):
        there = os.fstat(descriptor)
        synced.append(("folder" if stat.S_ISDIR(there.st_mode) else f"{there.st_size} bytes", path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    write_private(path, b"secret")
    assert synced == [("6 bytes", False), ("folder", True)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_disk_that_does_not_sync_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "key"
    write_private(path, b"old")

    def refuse(_):
        raise OSError("I/O error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="I/O error"):
        write_private(path, b"new")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]
