"""The console of a stack: when it is taken to run, and what is said where it can't."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from auditpipe.pipeline.local import console, process, stack
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.stack import Part, State, UpOptions
from auditpipe.schemas import ports
from auditpipe.schemas.errors import NotFinished
from tests.conftest import free_port


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """With the profile of a cluster that nobody asks before somebody signs in."""
    home = Home(tmp_path / "home")
    for folder in (home.profiles, home.run, home.logs):
        folder.mkdir(parents=True, mode=0o700)
    (home.profiles / "local.toml").write_text('url = "https://127.0.0.1:1"\n')
    yield home
    record = process.read(home.run, console.NAME)
    if record is not None:
        process.stop(record)


def test_it_serves_pages_when_wait_returns_and_its_events_go_into_the_spool(home: Home, tmp_path: Path) -> None:
    record = console.start(home, free_port(), tmp_path / "spool")
    made = console.wait(record)
    with urlopen(f"{made.url}sign-in") as answer:
        assert b"Sign in" in answer.read()
    assert made == console.Console(f"http://{record.address}/")
    assert psutil.Process(record.pid).environ()["AUDITPIPE_SPOOL_DIR"] == str(tmp_path / "spool")


def test_one_that_can_not_start_is_reported_with_its_log(home: Home, tmp_path: Path) -> None:
    (home.profiles / "local.toml").write_text('nonsense = "x"\n')
    with pytest.raises(process.Ended, match=r"console\.log") as raised:
        console.wait(console.start(home, free_port(), tmp_path / "spool"))
    assert "nonsense" in raised.value.said


def test_a_port_that_is_taken_stops_up_only_if_it_was_asked_for(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotFinished, match=f"port {port} .* give another --console-port"):
            stack._console_port(home, UpOptions(console=True, console_port=port))
        made = stack._console_at(home, port, home.root, stack.Watch())
    assert (made.url, "give another --console-port" in made.problem) == ("", True)


def test_without_its_packages_up_says_how_to_get_them(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_PACKAGES", ("jinja2", "no_such_package"))
    made = stack._console_at(home, free_port(), home.root, stack.Watch())
    assert "pip install 'auditpipe[console]'" in made.problem
    assert process.read(home.run, console.NAME) is None


def test_none_is_wanted_unless_asked_for(home: Home) -> None:
    assert stack._console_port(home, UpOptions()) is None
    assert stack._console_port(home, UpOptions(console=True)) == ports.CONSOLE


@pytest.mark.parametrize(
    ("name", "state", "missing"),
    [
        ("console", State.STOPPED, False),
        ("console", State.DIED, True),
        ("console", State.RUNNING, False),
        ("shipper", State.STOPPED, True),
    ],
)
def test_only_a_console_that_nobody_started_is_not_missed(name: str, state: State, missing: bool) -> None:
    assert Part(name, None, state).missing is missing
