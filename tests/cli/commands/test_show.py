"""`auditpipe show` as a process, against a real node."""

import orjson
import pytest

from auditpipe.schemas.identity import new_event_id
from tests.builders import START_NS, event
from tests.conftest import RealOpenSearch
from tests.stored import run, store

pytestmark = pytest.mark.opensearch


def test_the_sentence_the_difference_and_every_field(opensearch: RealOpenSearch) -> None:
    [document] = store(opensearch, [event(audit__redacted=["password"])], refresh=False)
    done = run("show", document["event"]["id"], env=opensearch.environment())
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == document["message"]
    assert "  last_name: Doe -> Dow" in lines
    assert "  password: (redacted), its values never left the application" in lines
    assert document["audit"]["hash"] in done.out
    assert "\x1b" not in done.out


def test_json_is_the_stored_document(opensearch: RealOpenSearch) -> None:
    [document] = store(opensearch, [event(user__name="\u202e")], refresh=False)
    done = run("show", document["event"]["id"], "-o", "json", env=opensearch.environment())
    assert orjson.loads(done.out) == document
    assert "\u202e" not in done.out


def test_no_such_event_is_exit_5(opensearch: RealOpenSearch) -> None:
    done = run("show", new_event_id(START_NS), env=opensearch.environment())
    assert (done.code, done.out) == (5, "")
    assert done.said.startswith("auditpipe: no event ")


def test_what_is_no_id_is_exit_2_and_says_what_one_looks_like(opensearch: RealOpenSearch) -> None:
    done = run("show", "42", env=opensearch.environment())
    assert done.code == 2
    assert "a UUIDv7" in done.said
