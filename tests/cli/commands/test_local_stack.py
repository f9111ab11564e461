"""`up`, `status`, `doctor` and `down` on a stack of their own, through its whole life, as processes."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from auditpipe.pipeline.client import connect
from auditpipe.pipeline.local.home import Home
from auditpipe.schemas.settings import load
from tests.conftest import free_port

pytestmark = pytest.mark.opensearch


@dataclass(frozen=True)
class Machine:
    """A home, three ports, and the command line on them."""

    home: Path
    port: int
    forward: int
    metrics: int

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AUDITPIPE_")}
        spool = str(self.home.parent / "spool")
        return subprocess.run(
            [sys.executable, "-m", "auditpipe.cli", *arguments],
            env={**kept, "AUDITPIPE_HOME": str(self.home), "AUDITPIPE_SPOOL_DIR": spool, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def up(self, *more: str) -> subprocess.CompletedProcess[str]:
        ports = (f"--port={self.port}", f"--forward-port={self.forward}", f"--metrics-port={self.metrics}")
        return self.run("up", *ports, "--shipper=relay", "--heap=512m", *(more or ("--no-console",)))

    def parts(self) -> dict[str, dict[str, object]]:
        return {part["name"]: part for part in json.loads(self.run("status", "-o", "json").stdout)["parts"]}

    def stored(self) -> int:
        return json.loads(self.run("status", "-o", "json").stdout)["events"]["stored"]

    def pids(self) -> dict[str, object]:
        return {name: part["pid"] for name, part in self.parts().items() if part["pid"]}


STARTED = {
    "opensearch": ["Started: OpenSearch.", "Already running: relay and the dead-letter replayer."],
    "shipper": ["Started: relay.", "Already running: OpenSearch and the dead-letter replayer."],
    "replayer": ["Started: the dead-letter replayer.", "Already running: OpenSearch and relay."],
}


def found(doctor):
    """The findings of `doctor -o json`."""
    return {check["name"]: check["sentence"] for check in json.loads(doctor.stdout) if check["level"] == "finding"}


def is_running(pid):
    """A zombie that no init collects has ended."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Its home has a path as people make them."""
    made = Machine(tmp_path_factory.mktemp("machine") / "Ünal's home", free_port(), free_port(), free_port())
    yield made
    made.run("down", "--purge", "--yes")


@pytest.fixture(scope="module")
def running(machine):
    result = machine.up()
    assert result.returncode == 0, result.stderr
    return machine, result


def test_before_it_is_up_status_says_so(tmp_path):
    machine = Machine(tmp_path / "home", free_port(), free_port(), free_port())
    result = machine.run("status")
    assert result.returncode == 3
    assert re.findall(r"^(\w+) +stopped", result.stdout, re.MULTILINE) == [
        "opensearch",
        "replayer",
        "shipper",
        "console",
    ]
    assert not machine.home.exists()


def test_up_says_where_it_is_and_shows_no_secret(running):
    machine, result = running
    password = (machine.home / "secrets" / "superadmin").read_text().strip()
    assert f"https://127.0.0.1:{machine.port}" in result.stdout
    assert str(machine.home / "secrets" / "superadmin") in result.stdout
    assert password not in result.stdout + result.stderr


def test_no_secret_is_on_a_command_line(running):
    machine, _ = running
    secrets = [path.read_text().strip() for path in (machine.home / "secrets").iterdir()]
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in machine.pids().values()]
    assert len(secrets) == 2
    assert not [line for line in lines for secret in secrets if secret in line]


def test_it_listens_on_loopback_alone(running):
    machine, _ = running
    for pid in machine.pids().values():
        listening = [c for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} <= {"127.0.0.1", "::1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root starts it as themselves")
def test_roots_node_is_not_root(running):
    machine, _ = running
    assert psutil.Process(machine.pids()["opensearch"]).uids().effective == 61742


def test_up_again_leaves_all_as_it_is(running):
    machine, _ = running
    before = machine.pids()
    result = machine.up()
    assert result.returncode == 0
    assert result.stdout.startswith("Already running: OpenSearch, relay and the dead-letter replayer.\n")
    assert machine.pids() == before


def test_an_event_goes_all_the_way(running):
    machine, _ = running
    emitted = machine.run("emit", "user.user.updated", "--actor=u1", "--target=user:u7", '--before={"name": "Doe"}')
    assert emitted.returncode == 0, emitted.stderr
    shown = machine.run("show", emitted.stdout.strip())
    assert shown.returncode == 0, shown.stderr
    assert "Doe" in shown.stdout


def test_other_ports_than_those_it_runs_at_are_refused(running):
    machine, _ = running
    for flag in ("--port", "--forward-port"):
        result = machine.run("up", "--no-console", f"{flag}={free_port()}")
        assert result.returncode == 2
        assert "auditpipe down" in result.stderr


def test_doctor_finds_nothing(running):
    machine, _ = running
    result = machine.run("doctor")
    assert result.returncode == 0, result.stdout
    assert "finding" not in result.stdout


def test_doctor_names_what_is_open_to_others(running):
    machine, _ = running
    secret = machine.home / "secrets" / "superadmin"
    secret.chmod(0o644)
    try:
        result = machine.run("doctor", "-o", "json")
    finally:
        secret.chmod(0o600)
    assert result.returncode == 1
    (found,) = [check for check in json.loads(result.stdout) if check["level"] == "finding"]
    assert found["name"] == "file modes"
    assert found["remedy"] == f"chmod go= {secret}"


@pytest.mark.parametrize("name", ["opensearch", "shipper", "replayer"])
def test_a_suspended_process_is_not_called_running(running, name):
    machine, _ = running
    process = psutil.Process(machine.pids()[name])
    process.suspend()
    try:
        status, doctor, up = machine.run("status"), machine.run("doctor", "-o", "json"), machine.up()
    finally:
        process.resume()
    assert status.returncode == 3
    assert f"process {process.pid} is suspended: `kill -CONT {process.pid}` lets it go on" in status.stdout
    assert found(doctor)[name] == f"process {process.pid} is suspended"
    assert up.returncode == 3
    assert f"kill -CONT {process.pid}" in up.stderr
    assert machine.run("status").returncode == 0


def test_a_damaged_record_hides_no_other_part(running):
    machine, _ = running
    record = machine.home / "run" / "shipper.json"
    before = record.read_bytes()
    record.write_bytes(b"\x00" * 100)
    try:
        status, doctor = machine.run("status"), machine.run("doctor", "-o", "json")
        up, purge = machine.up(), machine.run("down", "--purge", "--yes", "--home", str(machine.home / "elsewhere"))
    finally:
        record.write_bytes(before)
    assert purge.returncode == 0
    assert status.returncode == 3
    assert [line.split()[:2] for line in status.stdout.splitlines()[:3]] == [
        ["opensearch", "running"],
        ["replayer", "running"],
        ["shipper", "damaged"],
    ]
    assert f"{record} is damaged" in status.stdout
    assert "remove this file" in found(doctor)["shipper"]
    assert json.loads(doctor.stdout)[-1]["name"] == "months"
    assert up.returncode == 3
    assert "is damaged" in up.stderr


@pytest.mark.parametrize("spool", ["/proc/nowhere", "/dev/null", "/proc/self/mem/below"])
def test_a_spool_that_takes_nothing_is_a_finding(running, spool):
    machine, _ = running
    result = machine.run("doctor", "-o", "json", AUDITPIPE_SPOOL_DIR=spool)
    assert result.returncode == 1
    assert "emit fails" in found(result)["spool"]
    assert machine.run("status", AUDITPIPE_SPOOL_DIR=spool).returncode == 0


def test_status_does_not_count_what_shards_are_missing_from(running):
    machine, _ = running
    opensearch = connect(load({"home": str(machine.home)}, profile="operator", environment={}))
    nowhere = {"settings": {"index.routing.allocation.require._name": "nowhere"}}
    opensearch.indices.create(index="audit-events-1979.12", body=nowhere, params={"wait_for_active_shards": "0"})
    try:
        status = machine.run("status")
    finally:
        opensearch.indices.delete(index="audit-events-1979.12")
    assert status.returncode == 3
    assert "stored       13 of 14 shards answered: the cluster is still recovering" in status.stdout


@pytest.mark.parametrize("name", ["opensearch", "shipper", "replayer"])
def test_what_was_killed_is_started_again_and_nothing_else(running, name):
    machine, _ = running
    before, stored = machine.pids(), machine.stored()
    psutil.Process(before[name]).kill()
    status = machine.run("status")
    assert status.returncode == 3
    assert "died" in status.stdout
    result = machine.run(
        "up", "--shipper=relay", "--heap=512m", "--no-console"
    )  # where it ran, without being told again
    assert result.returncode == 0, result.stderr
    after = machine.pids()
    assert {part for part in after if after[part] != before[part]} == {name}
    assert result.stdout.splitlines()[:2] == STARTED[name]
    assert machine.stored() == stored >= 2


def test_a_console_that_died_takes_nothing_with_it_and_up_starts_it_again_where_it_was(running):
    machine, _ = running
    before, port = machine.pids(), free_port()
    started = machine.up(f"--console-port={port}")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("Started: the console.\n")
    assert f"console      http://127.0.0.1:{port}/ (sign in" in started.stdout
    console = machine.parts()["console"]
    assert (console["state"], console["address"]) == ("running", f"127.0.0.1:{port}")
    with urlopen(f"http://127.0.0.1:{port}/sign-in") as answer:
        assert b"Sign in" in answer.read()
    assert machine.run("up", "--console-port=1").returncode == 2  # it runs elsewhere
    psutil.Process(console["pid"]).kill()
    status, search = machine.run("status"), machine.run("search", "--limit=1")
    assert (status.returncode, search.returncode) == (3, 0)
    assert re.search(r"^console +died", status.stdout, re.MULTILINE)
    assert "console" in found(machine.run("doctor", "-o", "json"))
    with socket.create_server(("127.0.0.1", port)):
        without = machine.run("up", "--shipper=relay", "--heap=512m")
        assert machine.run("up", f"--console-port={port}").returncode == 3
    assert without.returncode == 0
    assert f"console      port {port} of 127.0.0.1 can't be used" in without.stdout
    again = machine.run("up", "--shipper=relay", "--heap=512m")
    assert f"console      http://127.0.0.1:{port}/" in again.stdout
    after = machine.pids()
    assert after.pop("console") != console["pid"]
    assert after == before


def test_a_purge_without_an_answer_removes_nothing(running):
    machine, _ = running
    asked = machine.run("down", "--purge")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert machine.parts()["opensearch"]["state"] == "running"


def test_down_stops_all_and_keeps_the_data(running):
    machine, _ = running
    pids = machine.pids()
    result = machine.run("down")
    assert result.returncode == 0
    assert "Stopped: console, shipper, replayer, opensearch." in result.stderr
    assert not [pid for pid in pids.values() if is_running(pid)]
    assert any((machine.home / "opensearch" / "data").iterdir())
    assert "Nothing was running" in machine.run("down").stderr


def test_a_port_in_use_is_named_and_nothing_is_started(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        machine = Machine(tmp_path / "home", taken.getsockname()[1], free_port(), free_port())
        result = machine.up()
    assert result.returncode == 3
    assert f"port {machine.port} of 127.0.0.1" in result.stderr
    assert f"process {os.getpid()}" in result.stderr
    assert result.stderr.count("\n") == 1
    machine.run("down", "--purge", "--yes")


def test_a_node_that_dies_is_reported_with_its_log(tmp_path):
    machine = Machine(tmp_path / "home", free_port(), free_port(), free_port())
    home = Home(machine.home)
    home.make()
    data = home.opensearch.resolve() / "data"
    data.mkdir()
    (data / "nodes").write_text("OpenSearch expects a folder here")
    result = machine.up()
    status = machine.run("status")
    machine.run("down", "--purge", "--yes")
    assert result.returncode == 3
    assert "OpenSearch ended while it started" in result.stderr
    assert str(data / "nodes") in result.stderr
    assert "died" in status.stdout


def test_a_home_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    machine = Machine(tmp_path / "file" / "home", free_port(), free_port(), free_port())
    result = machine.up()
    assert result.returncode == 2
    assert str(machine.home) in result.stderr
    assert result.stderr.count("\n") == 1
