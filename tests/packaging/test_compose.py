"""docker-compose.yml: the local stack's own files, no secret, nothing beyond loopback; with an engine, that it works.

Without Docker's compose command its structure is checked here, by hand: every key that is used is one of the compose
specification's.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from auditpipe.cli.main import cli
from auditpipe.pipeline import container, roles
from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.schemas.settings import SETTINGS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]

#: Of the compose specification (services.md), as far as they are used.
KEYS = {
    *("build", "cap_add", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image"),
    *("network_mode", "ports", "profiles", "read_only", "restart", "security_opt", "tmpfs", "ulimits", "user"),
    *("volumes", "working_dir"),
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
ONE_SHOT = {"prepare", "provision", "cli", "dashboards-import"}


def binds() -> list[tuple[str, str]]:
    """(service, path on the host) of every mounted file."""
    mounts = [(name, volume.split(":")[0]) for name, service in SERVICES.items() for volume in service["volumes"]]
    return [(name, source) for name, source in mounts if source.startswith(".")]


def test_every_key_is_the_specifications() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how["condition"] in CONDITIONS
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]


def test_each_mounted_file_exists_and_is_the_local_stacks() -> None:
    ours = {
        launcher.configuration(),
        launcher.guard(),
        Path(str(files("auditpipe.pipeline.opensearch").joinpath("opensearch.yml"))),
        Path(str(files("auditpipe.pipeline.opensearch").joinpath("security"))),
        ROOT / "dashboards" / "opensearch_dashboards.yml",
    }
    mounted = {(ROOT / source).resolve() for _, source in binds()}
    assert mounted == {path.resolve() for path in ours}
    assert all(path.exists() for path in mounted)


def test_every_named_volume_is_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert {name for name in used if not name.startswith(".")} == set(COMPOSE["volumes"])


def test_fluent_bit_gets_every_variable_of_its_configuration() -> None:
    launch = launcher.Launch(Path("/x"), "https://x", Path("/ca"), "x", ("x", 1), 2)
    given = SERVICES["fluent-bit"]["environment"]
    assert set(given) == set(launcher.environment(launch))
    assert all(given.values())
    assert given["AUDITPIPE_FLUENT_BIT_RETRIES"] == str(launcher.RETRIES)
    assert given["AUDITPIPE_SHIPPER_USER"] == container.SHIPPER
    guard = next(v for v in SERVICES["fluent-bit"]["volumes"] if "guard.lua" in v)
    assert given["AUDITPIPE_FLUENT_BIT_GUARD"] == guard.split(":")[1]


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_password_stands_in_it_and_none_has_a_default() -> None:
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*[^\s/{]", re.sub(r"(?m)^\s*#.*$", "", FILE.read_text()))
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert name.endswith("_FILE")
                assert value.startswith("/run/auditpipe/")


def test_each_service_that_stays_has_a_healthcheck_and_each_may_gain_no_privilege() -> None:
    for name, service in SERVICES.items():
        assert "no-new-privileges:true" in service["security_opt"]
        # Fluent Bit's image has no shell: the replayer, in its network, asks for it.
        assert ("healthcheck" in service) == (name not in ONE_SHOT | {"fluent-bit"})
    assert SERVICES["replayer"]["network_mode"] == "service:fluent-bit"


def test_one_version_of_opensearch_and_dashboards_and_fluent_bits_is_the_tested_one() -> None:
    lock = files("auditpipe.pipeline.local").joinpath("artifacts.lock.json").read_text()
    versions = {
        re.findall(r"\$\{OPENSEARCH_VERSION:-([\d.]+)\}", SERVICES[n]["image"])[0] for n in ("opensearch", "dashboards")
    }
    assert len(versions) == 1
    assert yaml.safe_load(lock)["version"] == versions.pop()
    [tested] = re.findall(r"\(([\d.]+) is the tested one\)", (ROOT / "README.md").read_text())
    assert SERVICES["fluent-bit"]["image"].endswith(f":-{tested}}}")


def test_only_provision_and_prepare_see_the_admin_certificate() -> None:
    seen = {name for name, service in SERVICES.items() if any("authority" in volume for volume in service["volumes"])}
    assert seen == {"prepare", "provision"}


def test_the_image_has_what_its_services_start() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    packages = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {"cli", "pipeline", "schemas", "emitters", "dashboards", "pyproject.toml"} <= packages
    assert 'ENTRYPOINT ["auditpipe"]' in (ROOT / "Dockerfile").read_text()
    assert SERVICES["prepare"]["entrypoint"][2] == container.__name__


def test_dashboards_and_security_agree_on_the_servers_user_and_on_where_everyone_lands() -> None:
    """Security lets no other user work on the objects of all tenants, and Dashboards does not start without."""
    security = files("auditpipe.pipeline.opensearch").joinpath("security/config.yml").read_text()
    kibana = yaml.safe_load(security)["config"]["dynamic"]["kibana"]
    ours = yaml.safe_load((ROOT / "dashboards" / "opensearch_dashboards.yml").read_text())
    tenants = "opensearch_security.multitenancy.tenants."
    assert kibana["server_username"] == container.DASHBOARDS
    assert kibana["multitenancy_enabled"] is ours["opensearch_security.multitenancy.enabled"] is True
    assert kibana["private_tenant_enabled"] is ours[tenants + "enable_private"] is False
    assert [kibana["default_tenant"]] == ours[tenants + "preferred"] == [roles.TENANT]
    assert roles.TENANT.islower()
    assert "opensearch_security.cookie.password" not in ours  # its own, random: `prepare` writes it


def test_the_objects_are_imported_over_loopback_as_the_first_super_admin() -> None:
    service = SERVICES["dashboards-import"]
    assert service["network_mode"] == "service:dashboards"
    assert service["environment"]["AUDITPIPE_DASHBOARDS_URL"] == "http://127.0.0.1:5601"
    assert service["environment"]["AUDITPIPE_USERNAME"] == container.SUPER_ADMIN
    given = {name.removeprefix("AUDITPIPE_").lower() for name in service["environment"]}
    assert given <= {setting.name for setting in SETTINGS}
    command = cli.get_command(click.Context(cli), service["command"][0])
    assert isinstance(command, click.Group)
    name, *arguments = service["command"][1:]
    imports = command.get_command(click.Context(command), name)
    assert imports is not None
    imports.make_context(name, arguments)


def compose(*arguments: str, check: bool = True) -> str:
    command = ["docker", "compose", "--project-name", "auditpipe-test", "--file", str(FILE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def docker_compose() -> None:
    """Docker's compose command, or the test is skipped."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no `docker compose` on this machine")


@pytest.fixture(scope="module")
def running(docker_compose: None) -> Iterator[None]:
    """The whole of it, started."""
    import docker
    from docker.errors import DockerException

    try:
        docker.from_env().ping()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    try:
        compose("up", "--build", "--detach", "--wait")
        yield
    finally:
        compose("down", "--volumes", check=False)


@pytest.mark.docker
def test_compose_itself_reads_it(docker_compose: None) -> None:
    assert "opensearch" in compose("config", "--services").split()


@pytest.mark.docker
def test_an_event_goes_the_whole_way(running: None) -> None:
    from auditpipe.emitters.forward import ForwardSender, entry
    from tests.builders import event

    now = time.time_ns()
    document = event(now)
    ForwardSender("127.0.0.1", 24224, timeout=30).deliver(entry(now // 1000 * 1000, document), 1)
    deadline = time.monotonic() + 60
    while document["event"]["id"] not in (
        shown := compose("run", "--rm", "cli", "show", document["event"]["id"], check=False)
    ):
        assert time.monotonic() < deadline, shown
        time.sleep(1)
