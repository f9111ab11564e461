"""The shipper of a stack: which one is taken, and that one which can't start says why."""

import os
import shutil
import socket

import pytest

from auditpipe.pipeline.local import process, shipper
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.shipper import ShipperOptions
from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import load
from tests.conftest import free_port
from tests.waiting import until

FLUENT_BIT = os.environ.get("AUDITPIPE_FLUENT_BIT") or shutil.which("fluent-bit")


def settings(**given):
    return load(given, environment={"HOME": "/"})


def test_none_forces_the_relay():
    assert shipper.choose("auto", settings(fluent_bit="none")) is None


def test_the_relay_can_be_asked_for_whatever_is_on_path():
    assert shipper.choose("relay", settings()) is None


def test_without_fluent_bit_auto_is_the_relay(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shipper.choose("auto", settings()) is None


def test_fluent_bit_that_was_asked_for_and_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="AUDITPIPE_FLUENT_BIT"):
        shipper.choose("fluent-bit", settings())


@pytest.fixture
def home(tmp_path, opensearch):
    """A home beside the session node's, with the shipper's password and profile in it."""
    home = Home(tmp_path / "home")
    for folder in (home.profiles, home.secrets, home.fluent_bit, home.dead_letters, home.run, home.logs):
        folder.mkdir(parents=True, mode=0o700)
    for part in ("secrets/audit_shipper", "profiles/shipper.toml"):
        shutil.copy(opensearch.home / part, home.root / part)
    yield home
    for name in (shipper.NAME, shipper.REPLAYER):
        record = process.read(home.run, name)
        if record is not None:
            process.stop(record)


PROGRAMS = [
    pytest.param(None, id="relay"),
    pytest.param(
        FLUENT_BIT,
        id="fluent-bit",
        marks=[pytest.mark.fluent_bit, pytest.mark.skipif(not FLUENT_BIT, reason="no fluent-bit here")],
    ),
]


@pytest.mark.opensearch
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_takes_connections_when_start_returns(home, opensearch, program):
    options = ShipperOptions(free_port(), free_port())
    record = shipper.start(home, opensearch.url, opensearch.ca_file, options, program)
    with socket.create_connection(("127.0.0.1", options.port), timeout=5):
        assert record.process() is not None
    assert record.program == ("fluent-bit" if program else "relay")


@pytest.mark.opensearch
def test_one_that_can_not_start_is_reported_with_its_log(home, opensearch):
    (home.profiles / "shipper.toml").write_text('url = "https://127.0.0.1:1"\nnonsense = "x"\n')
    options = ShipperOptions(free_port(), free_port())
    with pytest.raises(process.Ended, match=r"relay.log") as raised:
        shipper.start(home, opensearch.url, opensearch.ca_file, options, None)
    assert "nonsense" in raised.value.said


@pytest.mark.opensearch
def test_the_replayer_stays(home):
    """A parked file without an event is taken away in the next round: so each of them shows that one was made."""
    record = shipper.start_replayer(home)
    parked = home.dead_letters / "waiting" / "relay-2026-11-23.ndjson"
    parked.parent.mkdir()

    def taken_away():
        shipper.check_alive(record)
        return not parked.exists()

    for _ in range(2):
        parked.touch()
        until(taken_away)
    shipper.check_alive(record)
