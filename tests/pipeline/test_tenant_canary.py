"""A second tenant's event, with a canary in every text that an event has: nothing that a reader of the first tenant
runs tells the canary, or that the event is there."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditpipe.pipeline import access
from auditpipe.schemas import mapping
from auditpipe.schemas.event import Event
from auditpipe.schemas.identity import new_event_id
from tests.builders import START_NS, Document, event, seal
from tests.canary import Canaries
from tests.conftest import RealOpenSearch
from tests.stored import COMMAND, environment, organization, run, store

pytestmark = pytest.mark.opensearch

#: Letters alone: some fields of an event take nothing else.
PREFIX = "canary"
CANARY = PREFIX + "".join(secrets.choice("abcdefgh") for _ in range(16))
#: Of the same length, and in no event.
NOBODY = PREFIX + "".join(secrets.choice("stuvwxyz") for _ in range(16))

#: Texts in which nothing can be said: constants, words of a list, times, addresses, hashes.
SAYS_NOTHING = {
    *("@timestamp", "event.id", "event.kind", "event.dataset", "event.outcome", "ecs.version", "source.ip"),
    *("related.ip", "audit.schema", "audit.actor.type", "audit.sequence", "audit.previous", "audit.hash"),
}


@dataclass(frozen=True)
class Tenants:
    """The reader's environment, their organization's event, and the event of the other tenant."""

    env: dict[str, str]
    own: Document
    foreign: Document

    def told_in(self, data: str | bytes) -> set[str]:
        """What of it tells of the foreign event, in whatever form."""
        words = {"canary": CANARY, "hash": self.foreign["audit"]["hash"], "id": self.foreign["event"]["id"]}
        return Canaries(words).in_data(data)


def with_canary() -> Document:
    """An event of another organization that says the canary wherever an application may say anything."""
    document = event(message=f"{CANARY} changed {CANARY}", source__ip="198.51.100.77")
    named = {"id": CANARY, "name": CANARY}
    target = {"type": CANARY, **named}
    document["event"] |= {"action": f"user.{CANARY}.updated", "reason": CANARY, "category": [CANARY], "type": [CANARY]}
    document["organization"] = named
    document["user"] = {**named, "full_name": CANARY, "email": CANARY, "roles": [CANARY], "target": named}
    document["user_agent"], document["host"] = {"original": CANARY}, {"name": CANARY}
    document["http"], document["trace"] = {"request": {"id": CANARY}}, {"id": CANARY}
    document["service"] = {"name": CANARY, "version": CANARY, "environment": CANARY}
    document["related"] = {"user": [CANARY], "ip": ["198.51.100.77"]}
    document["audit"] |= {"session": {"id": CANARY}, "target": target, "involved": [target], "key": CANARY}
    document["audit"] |= {"changes": [{"field": CANARY, "before": CANARY, "after": [CANARY]}], "changed": [CANARY]}
    document["audit"] |= {"details": {CANARY: {CANARY: CANARY}}, "redacted": [CANARY], "stream": CANARY}
    return seal(document)


def mapped(properties: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every field of an event, as a dotted path."""
    for name, inner in properties.items():
        here = f"{path}.{name}" if path else name
        if "properties" in inner:
            yield from mapped(inner["properties"], here)
        else:
            yield here


def value_at(document: Any, path: str) -> Any:
    """What is there; of a list, of its first member."""
    for name in path.split(".") if path != "@timestamp" else [path]:
        document = document[0] if isinstance(document, list) else document
        document = document[name]
    return document


@pytest.fixture(scope="module")
def tenants(opensearch: RealOpenSearch) -> Tenants:
    """The first tenant has a reader and an event, the second an event."""
    mine = organization()
    own, foreign = store(opensearch, [event(organization__id=mine), with_canary()])
    reader = opensearch.add_user()
    grant = access.Grant(str(reader.get("username")), "admin", mine)
    access.grant(opensearch.client(opensearch.super_admin), grant)
    names = ("url", "username", "password_file", "ca_file")
    return Tenants({f"AUDITPIPE_{name.upper()}": str(reader.get(name)) for name in names}, own, foreign)


def test_the_canary_is_in_every_text_and_who_may_see_it_does(opensearch: RealOpenSearch, tenants: Tenants) -> None:
    """A new field of an event has to get the canary too."""
    Event.model_validate_json(orjson.dumps(tenants.foreign))
    silent = {
        path
        for path in mapped(mapping.load()["mappings"]["properties"])
        if CANARY not in str(value_at(tenants.foreign, path))
    }
    assert silent == SAYS_NOTHING
    found = run("search", "--org", CANARY, "-o", "ndjson", env=opensearch.environment())
    assert found.documents == [tenants.foreign]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("search --id --limit 10000 --sort asc", 0),
        ("search --limit 1", 0),
        ("search -o json", 0),
        ("search -o ndjson", 0),
        ("search -o csv", 0),
        ("search --ip 198.51.100.77", 0),
        (f"search -q user.name:{PREFIX}*", 0),
        (f"search -q {PREFIX}*", 0),
        (f"search -q _exists_:audit.changes.after~{PREFIX}:( -o json", 2),
        (f"search --action user.{PREFIX}*", 0),
        ("verify", 0),
        ("verify -o json", 0),
        (f"verify -q audit.stream:{PREFIX}*", 0),
        ("export --to -", 0),
        ("export --to - -o csv", 0),
        ("access list", 4),
        ("access log", 4),
        ("access check {}", 4),
    ],
)
def test_no_command_tells_it(tenants: Tenants, command: str, code: int) -> None:
    done = run(*command.replace("{}", NOBODY).split(), env=tenants.env)
    assert done.code == code, done
    assert tenants.told_in(done.out + done.err) == set()


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_no_file_of_an_export_tells_it(tenants: Tenants, tmp_path: Path, kind: str) -> None:
    done = run("export", "--to", "all", "-o", kind, "--purpose", "a look around", env=tenants.env, cwd=tmp_path)
    assert done.code == 0, done
    files = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(files) == {"all", "all.manifest.json"}
    assert tenants.own["user"]["email"] in files["all"]
    for text in (*files.values(), done.out, done.err):
        assert tenants.told_in(text) == set()


@pytest.mark.parametrize("output", ["table", "ndjson"])
def test_tail_does_not_tell_it(tenants: Tenants, output: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "tail", "--since", "2000-01-01", "--interval", "0.1", "-o", output],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
        env=environment(**tenants.env),
    )
    try:
        out, err = b"", b""
        assert process.stdout is not None
        while tenants.own["event"]["action"].encode() not in out:
            line = process.stdout.readline()
            assert line, "tail ended"
            out += line
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert tenants.told_in(out + rest + err) == set()


@pytest.mark.parametrize(
    "command",
    [
        "search --org {} -o json",
        "search --actor {} --sort asc --limit 1",
        "search -q message:{}",
        "search -q message:{}(",
        "search --target {}:{}",
        "export --to - --service {}",
        "verify --org {} -o json",
    ],
)
def test_a_name_of_theirs_is_answered_as_one_that_nobody_has(tenants: Tenants, command: str) -> None:
    """Words, numbers and exit code: nothing tells whether there is such a thing elsewhere."""
    theirs, nobodys = (run(*command.replace("{}", name).split(), env=tenants.env) for name in (CANARY, NOBODY))
    assert theirs.code == nobodys.code
    assert theirs.out.replace(CANARY, NOBODY) == nobodys.out
    assert theirs.err.replace(CANARY, NOBODY) == nobodys.err


@pytest.mark.parametrize("output", ["text", "json"])
def test_their_event_is_shown_as_one_that_does_not_exist(tenants: Tenants, output: str) -> None:
    foreign, nobodys = tenants.foreign["event"]["id"], new_event_id(START_NS)
    seen, unseen = (run("show", one, "-o", output, env=tenants.env) for one in (foreign, nobodys))
    assert (seen.code, seen.out) == (unseen.code, unseen.out) == (5, "")
    assert seen.said.replace(foreign, nobodys) == unseen.said
    assert CANARY not in seen.said
