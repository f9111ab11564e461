"""What the one-shot services of docker-compose.yml do, here without a container."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from auditpipe.pipeline import container
from auditpipe.pipeline.writeonce import WriteOnce
from tests.conftest import RealOpenSearch

VOLUMES = ("authority", "node", "shipper", "dashboards", "super-admin", "buffer", "snapshots")


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty volumes, owned by whoever runs the tests."""
    monkeypatch.setattr(container, "USER_ID", os.getuid())
    for name in VOLUMES:
        (tmp_path / name).mkdir()
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_each_service_finds_its_own_and_nothing_more(volumes: Path) -> None:
    container.prepare(volumes)
    found = {name: sorted(path.name for path in (volumes / name).iterdir()) for name in VOLUMES}
    assert found == {
        "authority": ["admin-key.pem", "admin.pem", "ca-key.pem", "ca.pem", "node-key.pem", "node.pem"],
        "node": ["ca.pem", "node-key.pem", "node.pem"],
        "shipper": ["ca.pem", "shipper-password"],
        "dashboards": ["ca.pem", "cookie", "password", "secrets.yml"],
        "super-admin": ["ca.pem", "password"],
        "buffer": [],
        "snapshots": [],
    }
    for path in volumes.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_second_start_changes_nothing(volumes: Path) -> None:
    container.prepare(volumes)
    before = content(volumes)
    container.prepare(volumes)
    assert content(volumes) == before


def test_the_passwords_are_random_and_each_another(volumes: Path) -> None:
    container.prepare(volumes)
    paths = ("shipper/shipper-password", "super-admin/password", "dashboards/password", "dashboards/cookie")
    passwords = [(volumes / path).read_text().strip() for path in paths]
    assert len(set(passwords)) == 4
    assert all(len(password) >= 32 for password in passwords)
    secrets = yaml.safe_load((volumes / "dashboards" / "secrets.yml").read_text())
    assert secrets == {
        "opensearch.username": "dashboards",
        "opensearch.password": passwords[2],
        "opensearch_security.cookie.password": passwords[3],
    }


@pytest.mark.opensearch
def test_provisioning_makes_the_users_whose_passwords_were_prepared(
    volumes: Path, opensearch: RealOpenSearch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Users of this test alone: the node is shared, and its own shipper and Super Admin have their passwords.
    for name in ("SHIPPER", "SUPER_ADMIN", "DASHBOARDS"):
        monkeypatch.setattr(container, name, f"compose-{name.lower()}")
    container.prepare(volumes)
    for name in ("ca.pem", "admin.pem", "admin-key.pem"):
        shutil.copy(opensearch.home / "certs" / name, volumes / "authority" / name)
    monkeypatch.setenv("AUDITPIPE_VOLUMES", str(volumes))
    with caplog.at_level("INFO"):
        for _ in range(2):
            assert container.main(["provision", opensearch.url]) == 0
    assert WriteOnce.YES.sentence in caplog.text
    for user, path, role in (
        ("compose-shipper", "shipper/shipper-password", "audit_writer"),
        ("compose-super_admin", "super-admin/password", "audit_super_admin"),
        ("compose-dashboards", "dashboards/password", "kibana_server"),
    ):
        settings = opensearch.settings(user, volumes / path)
        assert role in opensearch.request("GET", "/_plugins/_security/authinfo", settings=settings)["roles"]


def test_a_wrong_call_or_no_cluster_is_one_line_and_its_exit_code(volumes: Path) -> None:
    environment = {**os.environ, "AUDITPIPE_VOLUMES": str(volumes)}
    for arguments, code in (["nonsense"], 2), (["provision", "https://127.0.0.1:1"], 2):
        command = [sys.executable, "-m", "auditpipe.pipeline.container", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr.startswith("auditpipe: ")
        assert "Traceback" not in done.stderr
