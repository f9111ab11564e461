"""Someone who can sign in and has no role sees nothing, through no command and no page."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest

from auditpipe.cli.main import cli
from auditpipe.pipeline import access
from auditpipe.schemas.settings import Settings
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import Served, console, sign_in
from tests.pipeline.test_looked import environment
from tests.stored import COMMAND, run_here, store
from tests.stored import environment as shell

pytestmark = pytest.mark.opensearch

CANARY = f"canary{secrets.token_hex(8)}"

#: Every command that asks a node for something, as it is run, and how it ends; EVENT is the id of a stored event,
#: CANARY a word in it.
COMMANDS = {
    "search": 4,
    "search -o json --limit 5000": 4,
    "search -o ndjson": 4,
    "search -o csv": 4,
    "search -q message:CANARY*": 4,
    "search --org CANARY": 4,
    "tail": 4,
    "tail --since 2000-01-01 -o ndjson": 4,
    "show EVENT": 4,
    "show EVENT -o json": 4,
    "export --to -": 4,
    "export --to - -o csv": 4,
    "export --to file --org CANARY": 4,
    "verify": 4,
    "verify -o json": 4,
    "verify --org CANARY": 4,
    "access list": 4,
    "access list -o json": 4,
    "access log": 4,
    "access log --event EVENT -o json": 4,
    "access check CANARY": 4,
    "access grant CANARY-x --role admin": 4,
    "access revoke CANARY-x": 4,
    "access require-purpose off": 4,
    "dashboards check": 4,
    "deadletter replay --home home": 0,  # there are none
    "provision --dry-run": 4,
    "doctor": 1,  # it says what it was not allowed to look at
}
#: These ask as somebody else, or nothing: servers, and what has the node's certificate (docs and tests of their own).
NOT_AS_A_READER = {"console", "relay", "dashboards import"}
#: Groups whose commands change what is kept: for the admin certificate alone.
NOT_READING = {"retention", "hold"}


@pytest.fixture(scope="module")
def stored(opensearch: RealOpenSearch) -> Document:
    (document,) = store(opensearch, [event(organization__id=CANARY, message=f"{CANARY} did it", user__name=CANARY)])
    return document


@pytest.fixture(scope="module")
def nobody(opensearch: RealOpenSearch) -> Settings:
    return opensearch.add_user()


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that can be run, by its words."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from leaves(inner, f"{path} {name}".strip())
    else:
        yield path, command


def test_every_command_that_asks_a_node_is_run_here() -> None:
    asking = {path for path, command in leaves(cli) if any("--url" in param.opts for param in command.params)}
    asking = {path for path in asking if path.split()[0] not in NOT_READING} - NOT_AS_A_READER
    missing = {path for path in asking if not any(f"{line} ".startswith(f"{path} ") for line in COMMANDS)}
    assert missing == set()


@pytest.mark.parametrize("line", COMMANDS)
def test_no_command_shows_anything(nobody: Settings, stored: Document, tmp_path: Path, line: str) -> None:
    arguments = line.replace("EVENT", stored["event"]["id"]).replace("CANARY", CANARY).split()
    env = {**environment(nobody), "AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool"), "AUDITPIPE_FORWARD": "127.0.0.1:1"}
    done = run_here(*arguments, env=env, cwd=tmp_path)
    assert done.code == COMMANDS[line], done
    told = [word for word in (CANARY, stored["audit"]["hash"]) if word in done.out + done.err]
    assert told == [CANARY] * ("CANARY" in line and CANARY in done.err), done
    assert done.out == "" or line in ("tail", "doctor") or COMMANDS[line] == 0, done  # the head of a table
    assert not list(tmp_path.glob("file*"))


def test_a_role_that_was_taken_back_shows_nothing_more_to_who_follows(
    opensearch: RealOpenSearch, stored: Document
) -> None:
    """tail is running when the access goes."""
    person = opensearch.add_user()
    name, client = str(person.get("username")), opensearch.client(opensearch.super_admin)
    access.grant(client, access.Grant(name, "admin", CANARY))
    command = [*COMMAND, "tail", "--interval", "0.1", "-o", "ndjson"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=shell(**environment(person))
    ) as process:
        access.revoke(client, name)
        out, err = process.communicate(timeout=180)
    assert process.returncode == 4 and out == b"" and CANARY.encode() not in err


@pytest.fixture(scope="module")
def served(opensearch: RealOpenSearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with console(opensearch.url, opensearch.ca_file, tmp_path_factory.mktemp("console")) as made:
        yield made


def pages(stored: Document) -> list[str]:
    return [
        *("/", f"/?org={CANARY}", f"/?query={CANARY}", "/?action=user.*", "/who-looked", f"/who-looked?user={CANARY}"),
        *(f"/events/{stored['event']['id']}", "/sign-in"),
    ]


def tells(answer: httpx.Response) -> bool:
    return any(word in answer.text for word in (f"{CANARY} did it", 'datalist id="', "<tbody>"))


def test_no_page_shows_anything_to_who_has_no_role(served: Served, nobody: Settings, stored: Document) -> None:
    with served.browser() as browser:
        answer = sign_in(browser, str(nobody.get("username")), nobody.password or "")
        assert answer.status_code == 401 and not tells(answer)
        for path in pages(stored):
            answer = browser.get(path)
            assert answer.status_code == (200 if path == "/sign-in" else 303) and not tells(answer), path
        assert browser.post(f"/export?org={CANARY}", data={"format": "csv"}).status_code == 303


def test_no_page_shows_anything_to_who_has_lost_it(
    opensearch: RealOpenSearch, served: Served, stored: Document
) -> None:
    """Signed in, with a list and its suggestions seen a moment ago."""
    person = opensearch.add_user()
    name, client = str(person.get("username")), opensearch.client(opensearch.super_admin)
    access.grant(client, access.Grant(name, "admin", CANARY))
    with served.signed_in(person) as browser:
        assert tells(browser.get("/"))
        form = {"token": served.session(browser).form_token, "format": "csv"}
        access.revoke(client, name)
        for path in pages(stored):
            answer = browser.get(path)
            assert not tells(answer), path
            assert answer.status_code == (303 if path == "/sign-in" else 403), path
        refused = browser.post(f"/export?org={CANARY}", data=form)
        assert refused.status_code == 403 and not tells(refused)
