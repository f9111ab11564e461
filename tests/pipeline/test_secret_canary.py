"""No secret is in anything that is written: outputs, logs, spools, dead letters, exports, the index, process lists."""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from auditpipe.pipeline.fluent_bit import launcher
from tests.canary import Canaries
from tests.conftest import RealStack, free_port
from tests.forked import Commands
from tests.pipeline import secret_world
from tests.pipeline.fluent_bit.process import RunningFluentBit
from tests.pipeline.secret_world import World, of_process
from tests.waiting import recorded, until

pytestmark = pytest.mark.opensearch

#: Every file of a home that may hold one, and nothing else may: for its owner alone.
HOLDERS = (
    *("secrets/[^/]+", "certs/(admin|ca|node)-key.pem", "opensearch/config/certs/node-key.pem"),
    *("fluent-bit/shipper-password",),
)


@pytest.fixture(scope="module")
def world(stack: RealStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it has happened."""
    planted, work = (tmp_path_factory.mktemp(name) for name in ("planted", "work"))
    with Commands() as commands:
        world = World(stack.opensearch, commands, planted, work)
        everything(world)
        yield world


def everything(world: World) -> None:
    opensearch, work = world.node, world.work
    shared_key = world.plant("shared key")
    listen, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    relay = ("relay", "--listen", listen, "--metrics", metrics, "--dead-letters", str(work / "dead letters"))
    profile = {"AUDITPIPE_PROFILE": "shipper"}
    with world.running("relay", *relay, "--shared-key-file", shared_key, **profile) as relay_process:
        until(lambda: b"listen" in (work / "relay.log").read_bytes())
        secret_world.signing_in(world)
        secret_world.emitting(world, listen)
        secret_world.looking(world)
        secret_world.console(world)
        secret_world.pages(world, metrics)
        world.texts |= secrets_of(opensearch.home)
        world.said["relay's process"] = of_process(relay_process.pid)
        with world.running("tail", "tail", "--since", "1h", "--org", world.org) as tail:
            until(lambda: (work / "tail.log").read_bytes().count(b"\n") > 2)
            world.said["tail's process"] = of_process(tail.pid)


def secrets_of(home: Path) -> dict[str, str]:
    """The stack's own: passwords of the Super Admin and the shipper, private keys."""
    passwords = {name: (home / "secrets" / name).read_text().strip() for name in ("superadmin", "audit_shipper")}
    keys = {path.name: path.read_text().splitlines()[1] for path in (home / "certs").glob("*-key.pem")}
    assert len(keys) == 3
    return passwords | keys


@pytest.fixture(scope="module")
def canaries(world: World) -> Canaries:
    return Canaries(world.texts)


def test_it_is_a_secret_of_each_kind_and_much_was_said(world: World) -> None:
    assert len(world.texts) >= 18
    assert len(world.said) > 50
    assert all(len(text) > 10 for text in world.texts.values())


def test_no_command_and_no_page_says_one(world: World, canaries: Canaries) -> None:
    assert {name: found for name, text in world.said.items() if (found := canaries.in_data(text))} == {}


def test_no_file_that_was_written_holds_one(world: World, canaries: Canaries) -> None:
    """Spools, logs of the relay, `tail` and the console, dead letters, exports and their manifests."""
    written = {path.name for path in world.work.iterdir()}
    assert {"spool", "a spool that waits", "relay.log", "console.log", "all.csv", "all.ndjson.manifest.json"} <= written
    assert any(path.read_bytes().count(b"redacted") for path in (world.work / "dead letters").rglob("*.ndjson"))
    assert canaries.in_files(world.work) == {}


def test_a_home_holds_them_where_it_says_and_for_its_owner_alone(world: World, canaries: Canaries) -> None:
    home = world.node.home
    found = canaries.in_files(*(path for path in home.iterdir() if path.name != "opensearch"))
    # What the node stores is looked for by asking it; what it logs and is configured by, here.
    found |= canaries.in_files(*(home / "opensearch" / name for name in ("config", "logs", "tmp")))
    names = {os.path.relpath(path, home): path for path in found}
    assert found[names.pop("opensearch/logs/opensearch.log")] == {secret_world.NAME_AT_SIGN_IN}
    assert {"secrets/superadmin", "certs/admin-key.pem", "opensearch/config/certs/node-key.pem"} <= names.keys()
    assert [name for name in names if not any(re.fullmatch(holder, name) for holder in HOLDERS)] == []
    assert {stat.S_IMODE(Path(path).stat().st_mode) & 0o177 for path in names.values()} == {0}
    assert {"relay.log", "replayer.log", "opensearch.out"} <= {path.name for path in (home / "logs").iterdir()}


def test_no_process_shows_one(world: World, canaries: Canaries) -> None:
    """Of the stack: the node, the relay, the replayer. The others are among what was said."""
    pids = [json.loads(path.read_text())["pid"] for path in (world.node.home / "run").glob("*.json")]
    assert len(pids) >= 3
    for pid in (pid for pid in pids if psutil.pid_exists(pid)):
        assert canaries.in_data(of_process(pid)) == set()


def test_fluent_bit_has_one_in_a_file_of_its_own_alone(
    world: World, canaries: Canaries, fluent_bit_program: str, tmp_path: Path
) -> None:
    node, listen = world.node, ("127.0.0.1", free_port())
    launch = launcher.Launch(
        **{"folder": tmp_path / "fluent-bit", "opensearch_url": node.url, "ca_file": node.ca_file},
        **{"user": "audit_shipper", "forward": listen, "http_port": free_port()},
    )
    running = RunningFluentBit(fluent_bit_program, launch, str(node.shipper.password))
    running.start()
    try:
        world.run(
            *("through Fluent Bit", "emit", "user.user.updated", "--org", world.org),
            *("--before", json.dumps({"password": world.texts["field"]}), "--after", '{"password": "x"}'),
            **{"AUDITPIPE_FORWARD": f"127.0.0.1:{listen[1]}", "AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")},
        )
        address = f"http://127.0.0.1:{launch.http_port}/api/v2/metrics/prometheus"
        metrics = until(lambda: secret_world.page(address))  # 404 until it has counted
        assert running.process is not None
        told = of_process(running.process.pid) + metrics
    finally:
        running.stop()
    assert "fluentbit_" in told
    assert canaries.in_data(told) == set()
    assert canaries.in_files(tmp_path) == {str(launch.folder / launcher.PASSWORD_FILE): {"audit_shipper"}}


def test_nothing_that_the_node_stores_is_one(world: World, canaries: Canaries) -> None:
    """The events, and the node's own record of all these requests, those that it refused included."""
    looked = {"range": {"@timestamp": {"gte": world.began}}}

    def records() -> list[str]:
        body = {"size": 10_000, "query": looked, "track_total_hits": True}
        answer = world.node.request("POST", "/security-auditlog-*/_search", body)
        assert answer["hits"]["total"]["value"] <= 10_000
        return [json.dumps(hit["_source"]) for hit in answer["hits"]["hits"]]

    assert recorded(world.node, {"bool": {"filter": [looked, {"match": {"audit_category": "FAILED_LOGIN"}}]}})
    # `tail` is what was done last
    of_tail = {"wildcard": {"audit_transport_headers.X-Opaque-Id.keyword": "auditpipe/* tail*"}}
    of_org = {"match_phrase": {"audit_request_body": world.org}}
    assert recorded(world.node, {"bool": {"filter": [looked, of_tail, of_org]}})
    assert any("internalusers" in record for record in records())
    found = [(record, names) for record in records() if (names := canaries.in_data(record))]
    # A name that was typed for a sign-in at the node itself is on its record: docs/privacy.md says so.
    assert {name for _, names in found for name in names} == {secret_world.NAME_AT_SIGN_IN}
    assert all("FAILED_LOGIN" in record for record, _ in found)
    stored = world.node.request("POST", "/audit-events-*/_search", {"size": 10_000, "query": looked})["hits"]["hits"]
    assert any(world.org in json.dumps(hit) for hit in stored)
    assert canaries.in_data(json.dumps(stored)) == set()
