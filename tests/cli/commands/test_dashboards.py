"""`auditpipe dashboards`: build, check without a cluster, and import into a server that answers as Dashboards does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditpipe.dashboards.objects.build import GENERATED, build, generate
from auditpipe.dashboards.objects.saved import ndjson
from tests.dashboards.imports.fake import PASSWORD, USER, Fake, Trouble, fake_dashboards
from tests.stored import Ran, run

OBJECTS = build()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fake_dashboards() as fake:
        yield fake


@pytest.fixture
def environment(fake: Fake, tmp_path: Path) -> dict[str, str]:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    return {
        "AUDITPIPE_HOME": str(tmp_path / "home"),
        "AUDITPIPE_URL": "https://127.0.0.1:1",
        "AUDITPIPE_DASHBOARDS_URL": fake.url,
        "AUDITPIPE_USERNAME": USER,
        "AUDITPIPE_PASSWORD_FILE": str(secret),
    }


def imported(environment: dict[str, str], *arguments: str) -> Ran:
    done = run("dashboards", "import", *arguments, env=environment)
    assert PASSWORD not in done.out + done.err
    return done


def test_build_writes_the_file_that_is_imported(tmp_path: Path) -> None:
    path = tmp_path / GENERATED
    done = run("dashboards", "build", "--to", str(path), env={})
    assert (done.code, done.out, done.err) == (0, "", "")
    assert path.read_text() == generate()
    assert run("dashboards", "build", env={}).out == generate()


def test_a_file_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    done = run("dashboards", "build", "--to", str(tmp_path / "no" / "folder"), env={})
    assert done.code == 2
    assert "name a file that can be written" in done.said


def test_check_offline_asks_no_cluster(tmp_path: Path) -> None:
    done = run("dashboards", "check", "--offline", env={"AUDITPIPE_URL": "https://127.0.0.1:1"})
    assert (done.code, done.out, done.said) == (0, "", f"{len(OBJECTS)} objects, 0 findings")
    path = tmp_path / "export.ndjson"
    path.write_text(ndjson(OBJECTS[1:]))
    done = run("dashboards", "check", str(path), "--offline", "-o", "json", env={})
    assert done.code == 1
    told = json.loads(done.out)
    assert {
        "object": OBJECTS[1].name,
        "sentence": "refers to index-pattern/audit-events, which is not in the file",
    } in told


def test_import_says_what_it_wrote_and_the_second_time_that_it_was_there(
    fake: Fake, environment: dict[str, str]
) -> None:
    fake.trouble.starting = 1
    done = imported(environment)
    assert (done.code, done.out.splitlines()) == (0, [f"created {one.name}" for one in OBJECTS])
    said = done.err.splitlines()
    assert said[0] == f"auditpipe: Dashboards {fake.url}, tenant audit"
    assert said[1].startswith("auditpipe: waiting for Dashboards: ")
    assert said[2] == f"{len(OBJECTS)} created, 0 changed, 0 as they were; all read back"
    again = imported(environment)
    assert (again.code, again.out) == (0, "")
    assert f"0 created, 0 changed, {len(OBJECTS)} as they were" in again.err


@pytest.mark.parametrize(
    ("trouble", "tenant", "code"),
    [
        (Trouble(conflicts={("search", "audit-search-all")}), "audit", 1),
        (Trouble(opensearch_away=10**6), "audit", 3),
        (Trouble(), "no-such-tenant", 4),
    ],
)
def test_what_did_not_work_is_one_line_and_its_exit_code(
    fake: Fake, environment: dict[str, str], trouble: Trouble, tenant: str, code: int
) -> None:
    fake.trouble = trouble
    done = imported(environment, "--wait", "0", "--dashboards-tenant", tenant)
    assert (done.code, done.out) == (code, "")
    assert "Traceback" not in done.err
    assert fake.state() == {}


def test_what_the_check_finds_is_not_sent(fake: Fake, environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_text(ndjson(OBJECTS[1:]))
    done = imported(environment, str(path))
    assert done.code == 1
    assert "nothing was sent" in done.said
    assert fake.requests == []


def test_a_dashboards_of_the_command_line_does_not_get_the_password_of_the_environment(
    fake: Fake, environment: dict[str, str]
) -> None:
    """Credentials go where their own layer says, and nowhere else."""
    del environment["AUDITPIPE_DASHBOARDS_URL"]
    done = imported(environment, "--dashboards-url", fake.url)
    assert done.code == 2
    assert "--dashboards-url goes with --url" in done.said
    assert fake.requests == []
