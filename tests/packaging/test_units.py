"""The systemd unit that comes along is one that systemd takes, and grants little."""

import configparser
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import click
import pytest

from auditpipe.cli.main import cli

UNIT = Path(str(files("auditpipe.emitters") / "systemd" / "auditpipe-spool.service"))


class Repeatable(dict[str, str]):
    """A unit's settings: what stands twice adds up."""

    def __setitem__(self, key: str, value: str) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]  # type: ignore[assignment]
        super().__setitem__(key, value)


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeatable)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
    return parser["Service"]


def test_it_runs_a_command_that_exists_as_no_root(service: configparser.SectionProxy) -> None:
    program, name, *arguments = service["ExecStart"].split()
    assert (program, name) == ("/usr/bin/env", "auditpipe")
    group = cli.get_command(click.Context(cli), arguments[0])
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), arguments[1])
    assert command is not None
    assert command.make_context(arguments[1], arguments[2:]).params["watch"]
    assert service["User"] not in ("", "root")
    assert service["Restart"] == "always"


def test_what_it_writes_is_its_own_state_alone(service: configparser.SectionProxy) -> None:
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectoryMode"] == "0700"
    spool = next(line for line in service["Environment"].splitlines() if "SPOOL_DIR" in line)
    assert spool == f"AUDITPIPE_SPOOL_DIR=/var/lib/{service['StateDirectory']}/spool"
    for setting in ("NoNewPrivileges", "PrivateDevices", "RestrictNamespaces", "RestrictSUIDSGID"):
        assert service[setting] == "yes"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_it() -> None:
    done = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_calls_its_exposure_low() -> None:
    """Of 100, with the threshold in tenths: under 2.0 is what a service that needs the network can reach."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
