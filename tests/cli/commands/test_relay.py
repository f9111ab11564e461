"""`auditpipe relay`: what it refuses before it starts."""

import os
from pathlib import Path

import pytest

from auditpipe.cli.entry import main


def test_a_secret_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o640)
    if os.geteuid() == 0:  # a group may read what is root's: so a service gets its secrets
        secret.chmod(0o644)
    for name, value in {"URL": "https://127.0.0.1:1", "USERNAME": "x", "PASSWORD_FILE": str(secret)}.items():
        monkeypatch.setenv(f"AUDITPIPE_{name}", value)
    assert main(["relay", "--dead-letters", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"password_file {secret}: others can read or change this secret" in error
    assert f"chmod 600 {secret}" in error and "hunter2" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:24224"], "add --tls-cert-file FILE --tls-key-file FILE and --shared-key-file FILE"),
        (["--listen", "24224"], "expected host:port"),
        (["--metrics", "0.0.0.0:1"], "expected an address of loopback"),
        ([], "no cluster is named"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments:
        monkeypatch.setenv("AUDITPIPE_URL", "http://127.0.0.1:1")
    assert main(["relay", "--dead-letters", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
