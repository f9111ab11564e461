"""`auditpipe search` as a process, against a real node."""

import csv
import io
from pathlib import Path

import orjson
import pytest

from tests.builders import event, stream
from tests.conftest import RealOpenSearch
from tests.stored import Ran, ids, organization, run, store

pytestmark = pytest.mark.opensearch

HOSTILE = "漢字\x1b[2J\x9b31m\u202e\u2066"


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, stream(5, organization__id=name))
    store(opensearch, [event(organization__id=name, user__name=HOSTILE, user__id="=cmd()", event__outcome="failure")])
    return name


def search(opensearch: RealOpenSearch, org: str, *arguments: str, **env: str) -> Ran:
    return run("search", "--org", org, *arguments, env={**opensearch.environment(), **env})


def test_a_table_on_stdout_and_the_count_on_stderr(opensearch: RealOpenSearch, org: str) -> None:
    done = search(opensearch, org, "--limit", "3")
    assert done.code == 0
    assert len(done.out.splitlines()) == 4
    assert done.out.splitlines()[0].startswith("time (UTC)")
    assert "last_name: Doe -> Dow" in done.out
    assert done.err == "3 of 6\n"
    assert max(map(len, done.out.splitlines())) <= 120


def test_the_width_is_that_of_columns(opensearch: RealOpenSearch, org: str) -> None:
    assert max(map(len, search(opensearch, org, COLUMNS="105").out.splitlines())) <= 105


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
def test_nothing_of_an_event_acts_on_the_terminal(opensearch: RealOpenSearch, org: str, output: str) -> None:
    out = search(opensearch, org, "-o", output, "--outcome", "failure", COLUMNS="300").out
    assert not [char for char in "\x1b\x9b\u202e\u2066" if char in out]
    assert "[2J" in out
    assert "漢字" in out


def test_json_is_a_list_and_ndjson_a_line_each_of_the_stored_documents(opensearch: RealOpenSearch, org: str) -> None:
    as_lines = search(opensearch, org, "-o", "ndjson", "--sort", "asc").documents
    as_list = orjson.loads(search(opensearch, org, "-o", "json", "--sort", "asc").out)
    assert as_lines == as_list
    assert len(ids(as_list)) == 6
    assert HOSTILE in [document["user"]["name"] for document in as_list]


def test_an_empty_list_is_json_too(opensearch: RealOpenSearch, org: str) -> None:
    done = search(opensearch, org, "-o", "json", "--actor", "nobody")
    assert (orjson.loads(done.out), done.err, done.code) == ([], "0 of 0\n", 0)


def test_no_csv_cell_begins_as_a_formula(opensearch: RealOpenSearch, org: str) -> None:
    rows = list(csv.DictReader(io.StringIO(search(opensearch, org, "-o", "csv").out, newline="")))
    assert len(rows) == 6
    assert "'=cmd()" in [row["user.id"] for row in rows]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_ids_for_show(opensearch: RealOpenSearch, org: str) -> None:
    [document] = search(opensearch, org, "-n", "1", "-o", "ndjson").documents
    assert document["event"]["id"] in search(opensearch, org, "-n", "1", "--id", COLUMNS="250").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "soon"), "auditpipe: --since: expected a time"),
        (("--outcome", "maybe"), "auditpipe: --outcome: expected one of"),
        (("-q", "a:("), "auditpipe: OpenSearch can't read this query"),
        (("--ip", "home"), "auditpipe: --ip: expected an address"),
    ],
)
def test_a_bad_filter_is_one_line_and_exit_2(
    opensearch: RealOpenSearch, org: str, arguments: tuple[str, ...], said: str
) -> None:
    done = search(opensearch, org, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.said.startswith(said)


def credentials(settings_of: dict[str, str | None]) -> dict[str, str]:
    names = ("url", "username", "password_file", "ca_file")
    return {f"AUDITPIPE_{name.upper()}": settings_of[name] or "" for name in names}


@pytest.mark.parametrize("role", ["audit_admin", "audit_super_admin", "audit_auditor"])
def test_each_reading_role_may(opensearch: RealOpenSearch, org: str, role: str) -> None:
    done = run("search", "--org", org, env=credentials(dict(opensearch.add_user(role).values)))
    assert (done.code, done.err) == (0, "6 of 6\n")


@pytest.mark.parametrize("roles", [(), ("audit_writer",)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("search",),
        ("search", "--limit", "5000"),
        ("tail",),
        ("show", "01a00000-0000-7000-8000-000000000000"),
        ("export", "--to", "never"),
        ("verify",),
    ],
    ids=" ".join,
)
def test_no_other_role_may_and_each_command_says_whom_to_ask(
    opensearch: RealOpenSearch, roles: tuple[str, ...], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    person = opensearch.add_user(*roles)
    done = run(*arguments, env=credentials(dict(person.values)), cwd=tmp_path)
    assert done.code == 4, done
    assert done.out == "" or arguments[0] == "tail"
    assert done.said.endswith(f"ask a Super Admin: auditpipe access grant {person.get('username')} --role admin")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_and_a_node_that_is_away(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    env = credentials(dict(opensearch.super_admin.values)) | {"AUDITPIPE_PASSWORD_FILE": str(wrong)}
    done = run("search", env=env)
    assert (done.code, done.out) == (4, "")
    assert "wrong name or password for superadmin" in done.said
    done = run("search", env=env | {"AUDITPIPE_URL": "https://127.0.0.1:9"})
    assert (done.code, done.out) == (3, "")
    assert "nothing listens there" in done.said


def test_a_secret_is_no_flag() -> None:
    done = run("search", "--help", env={})
    assert "--password-file" in done.out
    assert "--password " not in done.out
    assert "--token " not in done.out


def test_one_organization_by_its_role_sees_no_other(opensearch: RealOpenSearch, org: str) -> None:
    """A reader bound by document-level security gets their own events, and nothing else counts."""
    other = organization()
    store(opensearch, stream(2, organization__id=other))
    actions = ["indices:data/read/search", "indices:data/read/get", "indices:data/read/point_in_time/*"]
    rule = f'{{"term":{{"organization.id":"{other}"}}}}'
    role = {
        "index_permissions": [{"index_patterns": ["audit-events-*"], "dls": rule, "allowed_actions": actions}],
        "cluster_permissions": ["cluster:monitor/main"],
    }
    opensearch.request("PUT", f"/_plugins/_security/api/roles/{other}", role)
    env = credentials(dict(opensearch.add_user(other).values))
    done = run("search", "-o", "ndjson", env=env)
    assert done.err == "2 of 2\n"
    assert {document["organization"]["id"] for document in done.documents} == {other}
    [foreign] = run("search", "--org", org, "-n", "1", "-o", "ndjson", env=opensearch.environment()).documents
    assert run("show", foreign["event"]["id"], env=env).code == 5
    assert run("search", "--limit", "2000", "--org", org, env=env).err == "0 of 0\n"
