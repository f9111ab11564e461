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


@pytest.mark.parametrize(
    "line",
    [
        'PASSWORD = "%s"' % secrets.token_urlsafe(12),  # noqa: UP031
        "-----BEGIN PRIVATE" + " KEY-----",
        f"key: '{secrets.token_hex(32)}'",
        "https://ada:" + "not-here@example.com/",
    ],
)
def test_it_fails_on_a_secret(repository: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], repository) == 0
    (repository / "config.py").write_text(f"\n{line}\n")
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
