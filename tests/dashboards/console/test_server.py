"""Where a console may listen; and the command as a process."""

import os
import signal
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from auditpipe.dashboards.console.server import Listen, check
from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.identity import format_time
from tests.conftest import RealOpenSearch, RealStack, free_port
from tests.dashboards.console.conftest import sign_in
from tests.dashboards.console.test_listing import words
from tests.stored import COMMAND, environment, run


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    (tmp_path / "some.pem").touch(0o600)
    return tmp_path / "some.pem"


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        (Listen("192.0.2.1"), "without TLS anyone on the way reads them"),
        (Listen("0.0.0.0"), "without TLS"),
        (Listen("audit.example"), "without TLS"),
        (Listen(cert_file=Path("missing.pem"), key_file=Path("missing.pem")), "missing.pem: no such file"),
        (Listen(cert_file=Path("missing.pem")), "only one of"),
        (Listen(public_url="http://audit.example"), "passwords need https://"),
        (Listen(public_url="https://audit.example/path"), "without a path"),
        (Listen(public_url="audit.example"), "expected https://audit.example"),
    ],
)
def test_what_would_send_passwords_in_the_clear_is_refused(listen: Listen, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check(listen)


def test_every_address_needs_a_name(pem: Path) -> None:
    listen = Listen("0.0.0.0", cert_file=pem, key_file=pem)
    with pytest.raises(SettingsError, match="give --public-url"):
        check(listen)
    check(replace(listen, public_url="https://audit.example:8443"))


def test_a_key_that_others_can_read_is_refused(pem: Path) -> None:
    pem.chmod(0o644)
    with pytest.raises(SettingsError, match=f"--tls-key-file {pem}: others can read .* chmod 600"):
        check(Listen("192.0.2.1", cert_file=pem, key_file=pem))


@pytest.mark.parametrize(
    ("listen", "url", "hosts", "secure"),
    [
        (Listen(), "http://127.0.0.1:24800/", {"127.0.0.1", "localhost", "::1"}, False),
        (Listen("::1", 80), "http://[::1]:80/", {"127.0.0.1", "localhost", "::1"}, False),
        (Listen("192.0.2.1", 443, Path("c"), Path("k")), "https://192.0.2.1:443/", {"192.0.2.1"}, True),
        (
            Listen(public_url="https://audit.example"),
            "https://audit.example",
            {"audit.example", "127.0.0.1", "localhost", "::1"},
            True,
        ),
    ],
)
def test_the_names_under_which_it_is_reached(listen: Listen, url: str, hosts: set[str], secure: bool) -> None:
    check(replace(listen, cert_file=None, key_file=None) if listen.host == "127.0.0.1" else Listen())
    assert (listen.url, listen.hosts, listen.secure) == (url, hosts, secure)


@pytest.mark.opensearch
def test_the_command_serves_with_tls_and_puts_sign_ins_on_record(stack: RealStack, tmp_path: Path, admin) -> None:
    certs, port, began = stack.home / "certs", free_port(), format_time(time.time_ns())
    command = [*COMMAND, "console", "--listen", f"127.0.0.1:{port}", "--tls-cert-file", str(certs / "node.pem")]
    command += ["--tls-key-file", str(certs / "node-key.pem"), "--public-url", f"https://localhost:{port}"]
    env = environment(AUDITPIPE_HOME=str(stack.home), AUDITPIPE_SPOOL_DIR=str(tmp_path / "spool"))
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert f"The console is at https://localhost:{port}" in process.stderr.readline()
        trusted = ssl.create_default_context(cafile=str(certs / "ca.pem"))
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, timeout=180) as browser:
            assert sign_in(browser, admin.get("username"), admin.password).status_code == 303
            answer = browser.get("/")
        assert "Events" in words(answer.text)
        assert answer.headers["strict-transport-security"]
        assert "server" not in answer.headers
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    query = (
        "search",
        "--service",
        "auditpipe-console",
        "--actor",
        admin.get("username"),
        "--since",
        began,
        "-o",
        "ndjson",
    )
    found = run(*query, env=stack.opensearch.environment()).documents
    assert [document["event"]["action"] for document in found] == ["user.login_succeeded"]


def test_a_port_that_is_taken_and_a_cluster_that_is_not_named(tmp_path: Path) -> None:
    done = run("console", env={"AUDITPIPE_HOME": str(tmp_path)})
    assert (done.code, done.out) == (2, "")
    assert "no cluster is named" in done.said
    done = run("console", "--listen", "nowhere", env={"AUDITPIPE_URL": "https://127.0.0.1:9"})
    assert done.code == 2
    assert "--listen: expected host:port" in done.said


def test_its_own_credentials_are_not_taken(opensearch: RealOpenSearch) -> None:
    from auditpipe.dashboards.console.person import settings_for

    theirs = settings_for(opensearch.super_admin)
    assert (theirs.url, theirs.get("ca_file")) == (opensearch.url, str(opensearch.ca_file))
    assert {name for name, value in theirs.values.items() if value is not None} == {"url", "ca_file"}
    assert os.environ.get("AUDITPIPE_URL") is None
