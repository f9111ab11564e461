"""What stands in the way of a start is said before anything is started."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.local import preflight
from auditpipe.schemas.errors import NotFinished, SettingsError, UsageError


def test_a_port_in_use_is_named_with_its_process():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotFinished, match=rf"port {port} .* by process {os.getpid()} .* another --port"):
            preflight.check_port(port, "--port")


def test_a_port_that_was_just_left_is_free():
    """A closed connection lingers in TIME_WAIT, which is nobody's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
    preflight.check_port(port, "--port")


@given(st.integers(512, 999_999))
def test_a_heap_in_mebibytes(size):
    assert preflight.heap_bytes(f"{size}m") == preflight.heap_bytes(f"{size}M") == size * 2**20


@given(st.integers(1, 976))
def test_a_heap_in_gibibytes(size):
    assert preflight.heap_bytes(f"{size}g") == preflight.heap_bytes(f"{size * 1024}m")


@pytest.mark.parametrize("text", ["", "1", "1k", "511m", "0g", "-1g", "1.5g", "1g ", "1g -XX:OnError=sh", "\u0661g"])
def test_no_other_heap(text):
    """It becomes a flag of Java: nothing but a size may pass."""
    with pytest.raises(UsageError, match="--heap"):
        preflight.heap_bytes(text)


@pytest.mark.parametrize("name", ["a,b", "a:b", "${HOME}", "a\nb", "a\x7fb", "a\udcffb"])
def test_a_path_that_a_part_would_read_as_something_else_is_refused(tmp_path, name):
    with pytest.raises(SettingsError):
        preflight.check_path(tmp_path / name)


@pytest.mark.parametrize("name", ["home", "a b", "Ünal's", "\U0001f4be", "$HOME", "a=b", "#1", "100%"])
def test_any_other_path_is_fine(tmp_path, name):
    preflight.check_path(tmp_path / name)


def test_too_little_memory_says_how_much_is_needed_and_free(monkeypatch):
    monkeypatch.setattr(preflight, "_CGROUP", Path("/no/such/folder"))
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: SimpleNamespace(available=1500 * 2**20))
    with pytest.raises(NotFinished, match=r"1,924 MiB are needed .* 1,500 MiB are free.*--heap"):
        preflight.check_memory("1g")
    preflight.check_memory("512m")


def cgroup(folder, limit):
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{900 * 2**20}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile 2\ninactive_file {400 * 2**20}\n")


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    """psutil tells the host's memory; its kernel kills by the container's."""
    monkeypatch.setattr(preflight, "_CGROUP", tmp_path)
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**36))
    cgroup(tmp_path, 2000 * 2**20)
    with pytest.raises(NotFinished, match="1,500 MiB are free"):
        preflight.check_memory("1g")
    cgroup(tmp_path, "max")
    preflight.check_memory("1g")


@pytest.mark.parametrize(
    ("free_mib", "total_mib", "problem"), [(500, 1000, "too little disk"), (2000, 100_000, "over 95 %")]
)
def test_too_little_disk_is_said(monkeypatch, tmp_path, free_mib, total_mib, problem):
    usage = SimpleNamespace(free=free_mib * 2**20, total=total_mib * 2**20)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NotFinished, match=problem):
        preflight.check_disk(tmp_path / "not" / "yet")


def test_enough_disk_is_fine(monkeypatch, tmp_path):
    usage = SimpleNamespace(free=2000 * 2**20, total=10_000 * 2**20)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    preflight.check_disk(tmp_path)
