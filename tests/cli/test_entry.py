"""The process around the commands: one line for a person, the documented exit code, quiet ends."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from auditpipe.cli import entry
from auditpipe.cli.main import COMMANDS, cli
from auditpipe.schemas import errors
from tests.stored import COMMAND, environment, run


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def raising(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(entry, "_run", raising)
    return entry.main([])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Finding("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.BadFilter("x"), 2),
        (errors.SettingsError("x"), 2),
        (errors.OutOfReach("x"), 3),
        (errors.NotFinished("x"), 3),
        (errors.NotAllowed("x"), 4),
        (errors.NoSuchEvent("x"), 5),
        (errors.AuditpipeError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    assert fail_with(monkeypatch, error) == code


def test_an_error_is_one_safe_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, errors.OutOfReach("two\nlines \x1b[31m \u202e"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "auditpipe: two lines \\x1b[31m \\u202e\n"


def test_a_bug_is_one_line_and_a_private_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert fail_with(monkeypatch, ZeroDivisionError("division\nby zero")) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    [kept] = tmp_path.iterdir()
    assert str(kept) in err
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "ZeroDivisionError" in kept.read_text()


@pytest.mark.parametrize(("package", "extra"), [("click", "cli"), ("opensearchpy", "cli"), ("jgo", "local")])
def test_a_missing_package_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str, extra: str
) -> None:
    assert fail_with(monkeypatch, ModuleNotFoundError(f"No module named {package!r}", name=package)) == 2
    assert f"pip install 'auditpipe[{extra}]'" in capsys.readouterr().err


def test_help_lists_every_command_and_imports_none() -> None:
    code = "import sys; from auditpipe.cli.entry import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    wide = environment(COLUMNS="120")  # so that no row is broken
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=wide, check=True)
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", done.stdout, re.MULTILINE)
    assert "opensearchpy" not in done.stderr
    assert "auditpipe.cli.commands" not in done.stderr


def test_search_pays_for_click_and_opensearch_py_and_nothing_else() -> None:
    """What `search` imports is click, opensearch-py with what that imports, orjson, our own the standard library."""
    code = "import sys; {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    bare, ours = (
        subprocess.run(
            [sys.executable, "-c", code.format(imports)], capture_output=True, text=True, env=environment(), check=True
        ).stdout.split()
        for imports in (
            "import click, opensearchpy, orjson",
            "import auditpipe.cli.entry, auditpipe.cli.commands.search",
        )
    )
    extra = set(ours) - set(bare) - sys.stdlib_module_names
    assert extra == {"auditpipe"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_loads(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert (found.name, found.short_help) == (name, COMMANDS[name])


def test_an_unknown_command_names_the_nearest() -> None:
    done = run("serch", env={})
    assert done.code == 2
    assert "Did you mean 'search'?" in done.err


def test_the_version_is_said() -> None:
    assert re.fullmatch(r"auditpipe \d+\.\d+\.\d+\S*\n", run("--version", env={}).out)


def test_no_settings_is_a_usage_error_that_says_how(tmp_path: Path) -> None:
    done = run("search", env={"AUDITPIPE_HOME": str(tmp_path)})
    assert done.code == 2
    assert done.said.startswith("auditpipe: no cluster is named")


def test_a_reader_that_goes_away_gets_no_complaint() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(write)
    assert done.returncode == entry.PIPE_CLOSED
    assert done.stderr == b""
    assert entry.PIPE_CLOSED == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [("actions",), ("actions", "-o", "json"), ("--help",), ("--version",)])
def test_a_stdout_that_takes_no_more_is_said(arguments: tuple[str, ...]) -> None:
    """On a full disk, and where the caller has closed it."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 3
    assert done.stderr.decode() == "auditpipe: stdout: No space left on device; what was written there is not all\n"
    closing = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, *arguments]
    done = subprocess.run(closing, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 3
    assert done.stderr.decode().startswith("auditpipe: stdout: ")
    assert done.stderr.count(b"\n") == 1
