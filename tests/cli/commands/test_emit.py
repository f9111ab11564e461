"""`auditpipe emit`, through a shipper into a real node, and without one."""

import json

import pytest

from auditpipe.schemas.identity import is_event_id
from tests.conftest import free_port
from tests.stored import organization, run

CHANGE = ("user.user.updated", "--actor", "u1", "--target", "user:u7")
STATES = ("--before", '{"last_name": "Doe"}', "--after", '{"last_name": "Dow"}')


@pytest.fixture
def place(stack, tmp_path):
    return {"AUDITPIPE_HOME": str(stack.home), "AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")}


@pytest.mark.opensearch
def test_an_event_from_emit_to_show(place):
    done = run("emit", *CHANGE, *STATES, "--org", organization(), env=place)
    assert done.code == 0, done
    assert "1 event acknowledged" in done.err
    event_id = done.out.strip()
    assert is_event_id(event_id)
    shown = run("show", event_id, env=place)
    for _ in range(100):
        if shown.code == 0:
            break
        shown = run("show", event_id, env=place)
    assert "last_name: Doe -> Dow" in shown.out


@pytest.mark.opensearch
def test_a_file_given_twice_is_there_once(place, tmp_path, stack):
    org = organization()
    first = run("emit", *CHANGE, "--org", org, "-o", "ndjson", env={**place, "AUDITPIPE_FORWARD": "127.0.0.1:1"})
    taken = json.loads(first.out)["event"]["id"]
    stem = taken[:-3] + ("0" if taken[-3] != "0" else "1")  # of the same millisecond, and never the same id
    lines = []
    for number in range(20):
        event_id = f"{stem}{number:02d}"
        lines.append(json.dumps({"action": "user.login_succeeded", "event_id": event_id, "organization": org}))
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(lines) + "\n")
    outputs = [run("emit", "--file", str(path), env=place) for _ in range(2)]
    assert [done.code for done in outputs] == [0, 0], outputs
    assert outputs[0].out == outputs[1].out
    assert outputs[0].out.split() == [json.loads(line)["event_id"] for line in lines]
    stack.opensearch.request("POST", "/audit-events-*/_refresh")
    query = {"query": {"bool": {"filter": [{"term": {"organization.id": org}}]}}}
    hits = stack.opensearch.client().search(index="audit-events-*", body={**query, "size": 100})["hits"]["hits"]
    stored = [hit["_source"]["event"]["action"] for hit in hits]
    assert stored.count("user.login_succeeded") == 20
    verified = run("verify", "--org", org, env=place)
    assert verified.code == 0, verified


@pytest.mark.opensearch
def test_what_was_emitted_while_nobody_listened_is_sent_by_up(place, stack):
    away = run("emit", *CHANGE, env={**place, "AUDITPIPE_FORWARD": f"127.0.0.1:{free_port()}"})
    assert away.code == 0
    assert "only spooled" in away.err
    up = run("up", "--no-console", env={**place, "AUDITPIPE_FLUENT_BIT": "none"})
    assert up.code == 0, up
    assert "events that waited in" in up.err
    assert ", 0 still wait" in up.err
    assert run("show", away.out.strip(), env=place).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give either an ACTION or --file"),
        (("user.user.updatd",), 2, "nearest: user.user.updated"),
        (("user.user.updated", "--before", "{"), 2, "--before: expected a JSON object or @FILE"),
        (("user.user.updated", "--after", "@/nowhere"), 2, "--after: /nowhere can't be read"),
        (("user.user.updated", "--before", '{"a": 1, "a": 2}'), 2, "key 'a' stands twice"),
        (("user.user.updated", "--after", '{"a": NaN}'), 2, "NaN is no number of JSON"),
        (("user.user.updated", "--after", "[1]"), 2, "--after: expected a JSON object"),
        (("user.user.updated", "--ip", "x"), 2, "source.ip: expected"),
        (("user.user.updated", "--target-name", "x"), 2, "--target-name needs --target"),
        (("--file", "/nowhere"), 2, "--file: /nowhere can't be read"),
        (("--file", "-", "--actor", "u1"), 2, "--actor has no meaning with it"),
    ],
)
def test_mistakes_are_one_line(arguments, code, said, tmp_path):
    done = run("emit", *arguments, env={"AUDITPIPE_SPOOL_DIR": str(tmp_path), "AUDITPIPE_FORWARD": "127.0.0.1:1"})
    assert done.code == code
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_numbers_keep_every_digit(tmp_path):
    place = {"AUDITPIPE_SPOOL_DIR": str(tmp_path), "AUDITPIPE_FORWARD": "127.0.0.1:1"}
    states = ("--before", '{"a": 0.1234567890123456789}', "--after", '{"a": 1.10}')
    done = run("emit", *CHANGE, *states, "-o", "ndjson", env=place)
    change = {"field": "a", "before": "0.1234567890123456789", "after": "1.10"}
    assert json.loads(done.out)["audit"]["changes"] == [change]


def test_a_file_with_a_bad_line_leaves_nothing(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_text('{"action": "user.login_succeeded"}\n{"action": "user.login_failed", "reason": {}}\n')
    done = run("emit", "--file", str(path), env={"AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")})
    assert done.code == 2
    assert f"{path}:2: event.reason: expected a word" in done.err
    assert not list((tmp_path / "spool").rglob("*.seg"))
