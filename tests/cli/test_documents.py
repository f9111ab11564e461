"""What the documents on reading and proving say is what the commands take."""

import re
import shlex
from pathlib import Path

import click
import orjson
import pytest

from auditpipe.cli.main import cli
from auditpipe.pipeline.manifest import Manifest
from tests.builders import event

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("searching.md", "export-and-verify.md", "spool.md", "dashboards.md", "retention.md")


def examples() -> list[str]:
    blocks = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)]
    return [line for block in blocks for line in block.splitlines() if line.startswith("auditpipe ")]


@pytest.mark.parametrize("example", examples())
def test_every_example_is_a_command_line_that_parses(example: str) -> None:
    _, name, *arguments = shlex.split(example)
    command = cli.get_command(click.Context(cli), name)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(click.Context(command), name)
    assert command is not None
    command.make_context(name, arguments)


def test_every_filter_is_in_the_table() -> None:
    search = cli.get_command(click.Context(cli), "search")
    assert search is not None
    flags = {flag for param in search.params for flag in param.opts if flag.startswith("--")}
    page = (DOCS / "searching.md").read_text()
    assert not [
        flag
        for flag in flags - {"--home", "--cert-file", "--key-file", "--ca-file", "--username", "--output"}
        if flag not in page
    ]


def test_every_member_of_the_manifest_is_in_the_table() -> None:
    page = (DOCS / "export-and-verify.md").read_text()
    assert not [name for name in Manifest.__dataclass_fields__ if f"`{name}`" not in page]


def test_the_program_of_an_auditor_agrees() -> None:
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "export-and-verify.md").read_text(), re.DOTALL)
    program: dict[str, object] = {}
    exec(code, program)
    is_unaltered = program["is_unaltered"]
    assert callable(is_unaltered)
    document = event(user__name="é 漢 \u2028 \U0001f600", audit__details={"n": [1, -5, None, True, "\x00"]})
    assert is_unaltered(orjson.dumps(document).decode())
    document["user"]["name"] = "e"
    assert not is_unaltered(orjson.dumps(document).decode())
