"""docs/cli.md says what `--help` says."""

import re

import pytest
from click.testing import CliRunner

from auditpipe.cli import reference
from auditpipe.cli.main import cli

_SECTION = re.compile(r"^## (auditpipe[^\n]*)\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = dict(_SECTION.findall(reference.markdown()))


@pytest.mark.parametrize("path", [context.command_path for context in reference.contexts()])
def test_a_section_has_every_word_of_the_help_in_its_order(path: str) -> None:
    """But for -h itself and a group's list of commands, which have sections of their own."""
    done = CliRunner().invoke(cli, [*path.split()[1:], "--help"], prog_name="auditpipe", terminal_width=1000)
    assert done.exit_code == 0
    said = done.output.partition("\nCommands:\n")[0].removeprefix("Usage: ")
    text, _, options = re.sub(r"-h, --help\s+Show this message and exit\.\n", "", said).rpartition("\nOptions:\n")
    assert SECTIONS[path].split() == [*text.split(), *options.split()]


@pytest.mark.parametrize("path", SECTIONS)
def test_the_brackets_of_a_usage_line_close(path: str) -> None:
    usage = SECTIONS[path].splitlines()[0]
    assert usage.startswith(f"{path} [OPTIONS]")
    while (shorter := re.sub(r"\[[^][]*\]|\{[^}{]*\}", "", usage)) != usage:
        usage = shorter
    assert not re.search(r"[][}{]", usage)
