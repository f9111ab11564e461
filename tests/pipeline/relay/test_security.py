"""Where a relay may listen with what it is given, and which files it takes."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditpipe.cli.commands.relay import command
from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.relay.config import RelayConfig
from auditpipe.pipeline.relay.security import Security, load_security
from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import load
from tests.pipeline.relay.secured import KEY, Files, make_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("secrets"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "relay.example", "127.0.0.1.example"])
def test_beyond_loopback_both_are_needed(host: str, files: Files, tmp_path: Path) -> None:
    settings, both = load({"url": "http://127.0.0.1:1"}, environment={}), files.security
    for security, flag in (
        (Security(), "--tls-cert-file FILE --tls-key-file FILE and --shared-key-file"),
        (Security(tls=both.tls), "add --shared-key-file"),
        (Security(shared_key=both.shared_key), "add --tls-cert-file"),
    ):
        with pytest.raises(SettingsError, match=flag):
            RelayConfig(settings, (host, 24224), tmp_path, security=security)
    RelayConfig(settings, (host, 24224), tmp_path, security=both)
    with pytest.raises(SettingsError, match=r"--metrics .* loopback"):
        RelayConfig(settings, ("127.0.0.1", 24224), tmp_path, metrics=(host, 24280), security=both)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o666])
def test_a_secret_that_others_can_read_or_change_is_refused(files: Files, tmp_path: Path, mode: int) -> None:
    for name in ("shared_key", "key"):
        copy = tmp_path / name
        copy.write_bytes(getattr(files, name).read_bytes())
        copy.chmod(mode)
        given = {"shared_key": files.shared_key, "key": files.key, name: copy}
        with pytest.raises(SettingsError, match=f"mode 0{mode:o}.*chmod 600"):
            load_security(files.certificate, given["key"], given["shared_key"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "can't be read"), (b"", "empty"), (b"\nsecond", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 70_000, "most")],
)
def test_a_shared_key_that_is_none_is_said(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.touch(0o600)
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem):
        load_security(None, None, path)
    with pytest.raises(SettingsError, match=r"regular file|directory"):
        load_security(None, None, tmp_path)


def test_certificate_and_key_belong_together(files: Files, tmp_path: Path) -> None:
    other = certificates.ensure(tmp_path / "other").node
    encrypted = tmp_path / "encrypted"
    encrypted.touch(0o600)
    encrypted.write_bytes(_encrypted(files.key))
    with pytest.raises(SettingsError, match="give both"):
        load_security(files.certificate, None, None)
    with pytest.raises(SettingsError, match="give both"):
        load_security(None, files.key, None)
    for key in (other.key, encrypted):
        with pytest.raises(SettingsError, match="expected a PEM certificate and its PEM key without passphrase"):
            load_security(files.certificate, key, None)
    with pytest.raises(SettingsError, match="expected a PEM certificate"):
        load_security(tmp_path / "absent", files.key, None)


def _encrypted(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization as s

    loaded = s.load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"passphrase"))


def test_the_command_refuses_without_them_and_never_shows_a_secret(files: Files, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(command, ["--url", "http://127.0.0.1:1", "--listen", "0.0.0.0:24224"])
    assert isinstance(outcome.exception, SettingsError)
    assert "--shared-key-file" in str(outcome.exception)
    assert KEY not in repr(files.security)
    assert stat.S_IMODE(files.shared_key.stat().st_mode) == 0o600
