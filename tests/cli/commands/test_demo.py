"""`auditpipe demo` on a real stack, with the relay."""

import json
import re
import shlex
import stat
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import pairwise
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from auditpipe.cli.commands import demo
from auditpipe.examples.accounts.walkthrough import steps
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import Results
from auditpipe.schemas.errors import Finding, NotFinished
from auditpipe.schemas.settings import load
from tests.conftest import free_port
from tests.stored import run


@pytest.fixture(scope="module")
def stack(stack):
    """What a command needs to find the session's stack; the console that a demo starts ends with this module."""
    from auditpipe.pipeline.local import console, process
    from auditpipe.pipeline.local.home import Home

    yield {"AUDITPIPE_HOME": str(stack.home)}
    run_folder = Home(stack.home).run
    started = process.read(run_folder, console.NAME)
    if started is not None:
        process.stop(started)
        process.forget(run_folder, console.NAME)


@pytest.fixture(scope="module")
def began():
    """A time before the runs and after whatever other tests had the example emit."""
    return datetime.now(UTC).isoformat()


@pytest.fixture(scope="module")
def runs(began, stack):
    """Two runs on one stack, the second with a console."""
    more = ("--no-console", f"--console-port={free_port()}")
    return [run("demo", flag, env={**stack, "COLUMNS": "200"}) for flag in more]


@pytest.mark.opensearch
def test_each_run_shows_its_own_events_and_two_of_them_in_full(runs):
    for done in runs:
        assert done.code == 0, done
        rows = [line for line in done.out.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:", line)]
        assert [row.split()[2] for row in rows] == [step.action for step in steps()]
        for line in (
            "  last_name: Doe -> Dow",
            "Ada Adams changed last_name of Tess Doe: Doe -> Dow",
            "Ada Adams changed members of team Support: + Tess Doe",
        ):
            assert line in done.out.splitlines()


@pytest.mark.opensearch
def test_each_step_is_said_on_stderr_in_one_line(runs):
    said = runs[0].err.splitlines()
    assert [line for line in said if line[2:] in {step.says for step in steps()}] == [
        f"  {step.says}" for step in steps()
    ]


def suggested(done):
    """The commands under "How to go on"."""
    lines = done.err.split("How to go on")[1].splitlines()
    return [shlex.split(command) for title, command in pairwise(lines) if title.startswith("  # ")]


@pytest.mark.opensearch
def test_what_it_suggests_works_as_it_stands(runs, began, stack, tmp_path):
    commands = [command[command.index("auditpipe") + 1 :] for command in map(_named, suggested(runs[0]))]
    assert commands[-1] == ["down"]
    for arguments in commands[:-1]:
        if arguments[0] == "verify":  # other tests leave on this node what it finds
            arguments += ["--since", began]
        done = run(*arguments, env=stack, cwd=tmp_path)
        assert done.code == 0, (arguments, done)
    found = run(*commands[0], "-o", "ndjson", env=stack).documents
    assert len(found) == len(steps())
    manifest = json.loads((tmp_path / "audit.ndjson.manifest.json").read_text())
    assert manifest


def _named(command):
    """With the program as `auditpipe`, however the test called it."""
    first = next(place for place, word in enumerate(command) if word in ("search", "show", "export", "verify", "down"))
    return ["auditpipe", *command[first:]]


@pytest.mark.opensearch
def test_it_leads_to_the_event_in_the_console(runs):
    assert "console" not in runs[0].err
    [link] = re.findall(r"in the console, as superadmin: (\S+)", runs[1].err)
    with urlopen(link) as answer:  # nobody is signed in
        assert answer.url.endswith(f"/sign-in?next={urlsplit(link).path}")
    assert urlsplit(link).path.removeprefix("/events/") in runs[1].err.split("One event in full")[1].splitlines()[1]


@pytest.mark.opensearch
def test_it_says_where_the_password_is_and_not_what_it_is(runs, opensearch):
    path = opensearch.home / "secrets" / "superadmin"
    assert f"the password is in {path}" in runs[0].err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in runs[0].out + runs[0].err


@pytest.mark.opensearch
def test_the_streams_of_both_runs_are_closed_and_sound(runs, began, stack):
    done = run("verify", "--since", began, "--service", "accounts", "--org", "acme", "-o", "json", env=stack)
    assert done.code == 0, done
    found = json.loads(done.out)
    assert (found["streams"], found["closed_streams"]) == (2, 2), done


@pytest.mark.parametrize(
    "given", [{"AUDITPIPE_URL": "https://os.example:9200"}, {"AUDITPIPE_PROFILE": "production"}], ids=str
)
def test_it_refuses_any_cluster_that_up_did_not_make(given, tmp_path):
    done = run("demo", env={**given, "AUDITPIPE_HOME": str(tmp_path / "home")})
    assert done.code == 2
    assert "only into the stack that `auditpipe up` makes" in done.said
    assert not (tmp_path / "home").exists()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(demo, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(demo, "_POLL_S", 0.01)


def test_a_shipper_that_does_not_answer_is_said_and_the_events_stay(impatient, tmp_path):
    settings = load({"home": str(tmp_path)}, environment={})
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(NotFinished, match=f"{len(steps())} events wait for the shipper at {nobody}"):
        demo._perform(settings, nobody, "run-1")
    spooled = b"".join(path.read_bytes() for path in (tmp_path / "demo").rglob("*") if path.is_file())
    assert spooled.count(b"user.team.deleted") == 1


@pytest.mark.parametrize(
    ("found", "error", "said"),
    [(26, NotFinished, "26 of 27 events can be searched"), (28, Finding, "expected 27 events of this run, found 28")],
)
def test_too_few_and_too_many_events_are_no_success(impatient, monkeypatch, found, error, said):
    monkeypatch.setattr(demo, "connect", lambda settings, opaque_id: None)
    monkeypatch.setattr(demo, "search", lambda *_, **__: nullcontext(Results(iter([{}] * found), found)))
    with pytest.raises(error, match=said):
        demo._wait(load(environment={}), Filters(), 27)


@pytest.mark.parametrize(
    ("called", "shown"),
    [("/elsewhere/bin/auditpipe", ["/elsewhere/bin/auditpipe"]), (".venv/bin/auditpipe", [".venv/bin/auditpipe"])],
)
def test_suggestions_name_the_program_as_it_was_called(monkeypatch, called, shown):
    monkeypatch.setattr(demo.sys, "argv", [called])
    monkeypatch.setattr(demo.shutil, "which", lambda name: None)
    assert demo._program() == shown


def test_suggestions_name_the_program_alone_where_it_is_on_path(monkeypatch, tmp_path):
    program = tmp_path / "auditpipe"
    program.touch()
    monkeypatch.setattr(demo.sys, "argv", [str(program)])
    monkeypatch.setattr(demo.shutil, "which", lambda name: str(program))
    assert demo._program() == ["auditpipe"]
