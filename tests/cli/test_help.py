"""What `--help` says of every command and group: complete, in one form, and true."""

import inspect
import re
import shlex
from itertools import groupby, takewhile
from pathlib import Path

import click
import pytest

from auditpipe.cli import entry, reference
from auditpipe.cli.main import COMMANDS, cli
from auditpipe.schemas import errors
from auditpipe.schemas.errors import AuditpipeError

ROOT = Path(__file__).resolve().parents[2]
EVERY = {context.command_path: context.command for context in reference.contexts()}
#: Named by the examples of commands that look at once whether there is such a file.
FILES = ("events.ndjson", "event-0.1.schema.json", "older.schema.json")


def examples(command: click.Command) -> list[str]:
    """The lines beneath "Examples:", each whole."""
    _, _, beneath = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    lines = beneath.partition("\n\n")[0].replace("\\\n", "").splitlines()
    assert all(line.startswith("  ") for line in lines)
    return lines


@pytest.mark.parametrize("path", EVERY)
def test_examples_are_headed_alike_and_parse(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).touch()
    calls = [words for line in examples(EVERY[path]) for words in _calls(line)]
    assert any(f"auditpipe {' '.join(words)} ".startswith(f"{path} ") for words in calls)
    for words in calls:
        _parse(words)


def _calls(line: str) -> list[list[str]]:
    """What a line for the shell gives to `auditpipe`, wherever in a pipeline."""
    parts = [list(part) for between, part in groupby(shlex.split(line), "|".__eq__) if not between]
    return [list(takewhile(">".__ne__, part[1:])) for part in parts if part[0] == "auditpipe"]


def _parse(words: list[str]) -> None:
    command: click.Command = cli
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        name, *words = words
        inner = command.get_command(click.Context(command), name)
        assert inner is not None, name
        command = inner
    if words != ["--help"]:
        assert not isinstance(command, click.Group)
        command.make_context("auditpipe", words)


@pytest.mark.parametrize("path", EVERY)
def test_every_command_and_option_says_what_it_is(path: str) -> None:
    command = EVERY[path]
    assert command.help
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.opts for option in options if not option.help] == []
    # Said by show_default, which is read off what is taken.
    assert [option.opts for option in options if re.search(r"\bdefault\b", option.help or "", re.IGNORECASE)] == []


@pytest.mark.parametrize("path", EVERY)
def test_the_form_of_the_output_is_asked_for_in_one_way(path: str) -> None:
    for option in EVERY[path].params:
        if {"-o", "--output"} & {*option.opts}:
            assert isinstance(option, click.Option)
            assert (option.opts, option.help, option.show_default) == (["--output", "-o"], "Form of the output.", True)


def test_the_table_of_the_root_names_what_the_groups_have() -> None:
    for name, text in COMMANDS.items():
        command = EVERY[f"auditpipe {name}"]
        if isinstance(command, click.Group):
            assert {*text.partition(": ")[2].removesuffix(".").split(", ")} == {*command.commands}


def test_every_exit_code_is_named() -> None:
    """In the root's help, in the README and on the page on searching."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AuditpipeError)]
    codes = {0, entry.BUG, entry.INTERRUPTED, entry.PIPE_CLOSED, *(kind.exit_code for kind in kinds)}
    [line] = re.findall(r"^Exit codes: (.*\n.*)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    for text in (line, (cli.help or "").partition("Exit:")[2].partition("\n\n")[0]):
        assert {int(number) for number in re.findall(r"\d+", text)} == codes
    page = (ROOT / "docs" / "searching.md").read_text(encoding="utf-8")
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes
