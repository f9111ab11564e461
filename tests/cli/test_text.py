"""Arguments that are no UTF-8: wrong usage where text is asked for, names where files are."""

import subprocess
from pathlib import Path

import pytest

from tests.stored import COMMAND, environment


def call(*arguments: bytes, cwd: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(HOME=str(cwd)), cwd=cwd, capture_output=True, timeout=180
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((b"export", b"--to", b"x.ndjson", b"--purpose", b"a\xff"), b"--purpose"),
        ((b"search", b"--actor", b"a\xff"), b"--actor"),
        ((b"hold", b"release", b"a\xff", b"--reason", b"x"), b"NAME"),
        ((b"emit", b"user.login_failed", b"--details", b'"\xff"'), b"--details"),
    ],
)
def test_what_is_no_utf8_is_wrong_usage(arguments: tuple[bytes, ...], name: bytes, tmp_path: Path) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(b"auditpipe: Invalid value for '" + name + b"': expected text in UTF-8, and character ")
    assert not done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((b"emit", b"user.login_failed", b"--details", b"@\xff"), b"--details: expected a JSON object"),
        ((b"emit", b"--file", b"\xff"), b"1 of the lines of \\udcff can't be taken"),
        ((b"emit", b"user.login_failed", b"--actions", b"\xff"), b"\\udcff"),
    ],
)
def test_a_name_of_a_file_may_be_any(arguments: tuple[bytes, ...], said: bytes, tmp_path: Path) -> None:
    (tmp_path / "\udcff").write_text("[1]\n")
    done = call(*arguments, cwd=tmp_path)
    assert said in done.stderr.splitlines()[-1]
