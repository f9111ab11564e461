"""docs/events.md: every item, each with a search of its own."""

import shlex
import subprocess
import sys
from pathlib import Path

from auditpipe.schemas.catalogue import Action, ArticleItem, Catalogue, builtin
from auditpipe.schemas.events_document import markdown, searches

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_what_the_catalogue_makes():
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == markdown(builtin())


def test_no_two_items_have_the_same_search():
    commands = [search.command for search in searches(builtin())]
    assert len(set(commands)) == len(commands) == 25


def test_every_search_is_in_the_document_as_a_shell_takes_it():
    text = markdown(builtin())
    for search in searches(builtin()):
        assert f"| {search.item.item} | {search.item.told_apart_by} | `{search.command}` |" in text
        assert shlex.split(search.command) == ["auditpipe", "search", *search.arguments]


def test_what_would_end_a_cell_is_escaped():
    item = ArticleItem("a | b", "query", query="x || y")
    action = Action("user.thing.done", "Done", "{actor}", ("iam",), ("user",), {"success": ()}, article=(item,))
    assert "| a \\| b | query | `auditpipe search --action user.thing.done -q 'x \\|\\| y'` |" in markdown(
        Catalogue([action])
    )


def test_it_needs_no_pydantic():
    code = "import sys, auditpipe.schemas.events_document; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
