"""Lists of what strangers named, as JSON: nothing in a name reaches the terminal raw."""

import json
from types import SimpleNamespace

import pytest

from auditpipe.pipeline import access
from auditpipe.pipeline.retention import holds
from auditpipe.pipeline.retention.signature import Trust
from tests.stored import run_here

NAME = "Ada\x9b2J\u202e\x7f"
ENV = {"AUDITPIPE_URL": "http://localhost:9", "AUDITPIPE_USERNAME": "ada", "AUDITPIPE_PASSWORD": "x"}


@pytest.mark.parametrize("command", ["access list", "hold list"])
def test_a_name_is_written_so_that_no_terminal_obeys_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = SimpleNamespace(as_dict=lambda: {"name": NAME}, released=None)
    monkeypatch.setattr(Trust, "read", lambda _settings: None)
    monkeypatch.setattr(access, "grants", lambda _client: [one])
    monkeypatch.setattr(holds, "read", lambda _client, _trust: [one])
    ran = run_here(*command.split(), "-o", "json", env=ENV)
    assert (ran.code, json.loads(ran.out)) == (0, [{"name": NAME}])
    assert ran.out == '[\n  {\n    "name": "Ada\\u009b2J\\u202e\\u007f"\n  }\n]\n'
