"""`auditpipe schema validate`: each problem a line, or a list."""

import json

from tests.stored import run

LINES = """\
{"event": {"action": "user.login_succeeded"}}
{"event": {"action": "user.login_succeeded", "category": ["web"]}, "audit": {"details": {"n": 1.10, "password": "x"}}}
{"event": {"action": "user.login_succeeded"}, "event": {}}
{"event": {"action": "user.login_succeeded"}, "audit": {"details": {"n": NaN}}}
"""


def test_problems_are_told_in_three_forms(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_text(LINES)
    text, rows, lines = (
        run("schema", "validate", str(path), "-o", form, env={}) for form in ("text", "json", "ndjson")
    )
    assert [done.code for done in (text, rows, lines)] == [1, 1, 1]
    assert "1 valid, 3 not" in text.err
    found = json.loads(rows.out)
    assert found == [json.loads(line) for line in lines.out.splitlines()]
    assert [(row["line"], row["path"]) for row in found] == [(2, "audit.details.n"), (3, "the line"), (4, "the line")]
    assert found[0]["got"] == "1.10"
    assert "'event' stands twice" in found[1]["got"]
    assert "NaN is no number of JSON" in found[2]["got"]
    assert len(text.out.splitlines()) == 3


def test_a_file_without_a_problem_is_an_empty_list(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_text(LINES.splitlines()[0])
    done = run("schema", "validate", str(path), "-o", "json", env={})
    assert (done.code, json.loads(done.out)) == (0, [])
