"""A secret in a file that git knows, or is about to, is found; what was accepted is not found again."""

import secrets
import subprocess
from pathlib import Path

import pytest

from tests.lint.secret_scan import BASELINE, ROOT, main


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "clean.py").write_text('greeting = "hello"\n')
    return tmp_path


SECRETS = {
    "password": lambda: f'PASSWORD = "{secrets.token_urlsafe(12)}"',
    "private key": lambda: "-----BEGIN PRIVATE" + " KEY-----",
    "hex key": lambda: f"key: '{secrets.token_hex(32)}'",
    "URL": lambda: f"https://ada:{secrets.token_hex(8)}@example.com/",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_it_fails_on_a_secret(repository: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], repository) == 0
    (repository / "config.py").write_text(f"\n{SECRETS[kind]()}\n")
    assert main([], repository) == 1
    assert "config.py:2: " in capsys.readouterr().out
    (repository / "config.py").rename(repository / "ignored")
    assert main([], repository) == 0


def test_what_is_accepted_may_move_and_another_is_found(repository: Path) -> None:
    one, other = (f'password = "{secrets.token_urlsafe(12)}"\n' for _ in range(2))
    (repository / "config.py").write_text(one)
    assert main(["--accept"], repository) == 0
    assert one.split('"')[1] not in (repository / BASELINE).read_text()
    (repository / "config.py").write_text(f"\n\n{one}")
    assert main([], repository) == 0
    (repository / "config.py").write_text(one + other)
    assert main([], repository) == 1


def test_the_repository_has_a_baseline() -> None:
    assert (ROOT / BASELINE).is_file()
