"""One of each secret, used and misused through every command, and all that was written by that."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from auditpipe.pipeline.local import certificates
from auditpipe.schemas.identity import new_event_id
from tests import canary
from tests.conftest import RealOpenSearch, free_port
from tests.dashboards.console.conftest import sign_in
from tests.forked import Commands
from tests.keys import write_keys
from tests.stored import COMMAND, Ran, environment, organization
from tests.waiting import until

#: The one that the node puts on its record: whoever was refused there is named.
NAME_AT_SIGN_IN = "name at sign-in"
ACTION = ("user.user.updated", "--target", "user:u7")
#: Events that an application emits, right and wrong, with all that can be wrong. Secrets come by stdin.
APPLICATION = """
import json, logging, sys
from auditpipe.emitters import AuditLog
from auditpipe.emitters.logging_handler import audit_logger
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
s = json.load(sys.stdin)
class Odd:
    def __repr__(self): return s["field"]
    def __str__(self): raise ValueError(s["field"])
with AuditLog("accounts", organization=s["org"], on_failure="continue") as audit:
    for arguments in (
        {"details": {"password": s["field"], "odd": Odd()}}, {"actor": {"password": s["field"]}},
        {"before": {"token": s["field"]}, "after": {"token": Odd()}}, {"details": {"api_key": s["field"] * 9000}},
        {"details": {"secret": {"deep": [s["field"]]}, "x": "y" * 300000}},
        {"changes": [{"field": "pwd", "after": Odd()}]}, {"before": {"pin": s["field"]}, "after": {"pin": "1"}},
        {"details": {"headers": [["Authorization", s["field"]]]}, "occurred_at": "today"},
        {"actor": {"name": s["person"]}, "ip": "not an address", "details": {"password": s["field"]}},
    ):
        audit._last_log = float("-inf")
        print(audit.emit("user.user.updated", **{"actor": "u1", "target": "user:u7", **arguments}))
    audit_logger(audit).info("in", extra={"audit": {"action": "user.login_succeeded", "details": {"jwt": s["field"]}}})
    typed = {"actor": {"name": s["typed"]}, "details": {"t": s["typed"]}}
    print(audit.emit("user.login_failed", reason="unknown_account", **typed))
    print(audit.flush(10), audit.stats())
with AuditLog("accounts", organization=s["org"]) as audit:
    audit.emit("user.user.updated", details={"password": s["field"], "odd": Odd()})
"""


@dataclass
class World:
    """Where things are, and what was said. `planted` holds the files that a person keeps, and is not searched."""

    node: RealOpenSearch
    commands: Commands
    planted: Path
    work: Path
    org: str = field(default_factory=organization)
    texts: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def plant(self, name: str) -> str:
        """A new secret of this name, and the file that holds it."""
        self.texts[name] = canary.make(name)
        path = self.planted / name
        path.write_text(self.texts[name] + "\n", encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    def run(self, name: str, *arguments: str, code: int | tuple[int, ...] = 0, stdin: Any = None, **env: str) -> None:
        """Run a command as the Super Admin unless `env` says otherwise, and keep what it said."""
        given = b"" if stdin is None else json.dumps(stdin).encode() + b"\n"
        done = self.done(*arguments, stdin=given, **env)
        assert done.code in ((code,) if isinstance(code, int) else code), (name, done)
        self.said[f"{name} ({len(self.said)})"] = done.out + done.err

    def done(self, *arguments: str, stdin: bytes = b"", **env: str) -> Ran:
        """A command that has run, as the Super Admin unless `env` says otherwise."""
        base = {**self.node.environment(), "AUDITPIPE_SPOOL_DIR": str(self.work / "spool")}
        return self.commands.run(*arguments, env={**base, **env}, cwd=self.work, stdin=stdin)

    @contextmanager
    def running(self, name: str, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that goes on, with its output in a file of `work`."""
        with (self.work / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=log, stderr=log, env=environment(**{**self.node.environment(), **env})
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)


def signing_in(world: World) -> None:
    """Every way to be refused."""
    cluster = {"AUDITPIPE_PROFILE": "", "AUDITPIPE_URL": world.node.url, "AUDITPIPE_CA_FILE": str(world.node.ca_file)}
    user = {**cluster, "AUDITPIPE_USERNAME": "superadmin"}
    password, token = world.plant("password"), world.plant("token")
    world.texts["token"] = secrets.token_urlsafe(24)
    Path(token).write_text(world.texts["token"] + "\n", encoding="ascii")
    for command in (("search",), ("access", "list")):
        world.run("wrong password", *command, code=4, **user, AUDITPIPE_PASSWORD_FILE=password)
    world.run("in the environment", "search", code=4, **user, AUDITPIPE_PASSWORD=world.texts["password"])
    world.run("wrong token", "search", code=4, **cluster, AUDITPIPE_TOKEN_FILE=token)
    world.run("two passwords", "search", code=2, **user, AUDITPIPE_PASSWORD_FILE=token, AUDITPIPE_PASSWORD="x")
    world.texts["in a URL"] = secrets.token_hex(8)
    for url in ("https://root:{}@h:9200", "https://root:{}@h:none", "root:{}@h", "https://[root:{}@h", "//root:{}@h"):
        url = url.format(world.texts["in a URL"])
        world.run("a password in the URL", "search", "--url", url, code=2)
        world.run("the same", "search", "--username", "x", code=2, **{**cluster, "AUDITPIPE_URL": url})
    wide = world.plant("token that no header takes")
    world.run("a token that no header takes", "search", code=2, **cluster, AUDITPIPE_TOKEN_FILE=wide)
    foreign = certificates.ensure(world.planted / "foreign")
    world.texts["foreign key"] = foreign.admin.key.read_text().splitlines()[1]
    pair = {"AUDITPIPE_CERT_FILE": str(foreign.admin.certificate), "AUDITPIPE_KEY_FILE": str(foreign.admin.key)}
    world.run("another authority's certificate", "search", code=(2, 3, 4), **cluster, **pair)
    swapped = {"AUDITPIPE_CERT_FILE": pair["AUDITPIPE_KEY_FILE"], "AUDITPIPE_KEY_FILE": pair["AUDITPIPE_CERT_FILE"]}
    world.run("a key as a certificate", "search", code=(2, 3, 4), **cluster, **swapped)
    profile(world, "number", f'url = "{world.node.url}"\npassword = {10**12 + secrets.randbelow(10**12)}\n')
    profile(world, "torn", f'url = "{world.node.url}"\npassword = "{canary.make("torn")}\n')


def profile(world: World, name: str, content: str) -> None:
    """A profile that can't be read, with a password in it."""
    home = world.planted / "home"
    (home / "profiles").mkdir(parents=True, exist_ok=True)
    (home / "profiles" / f"{name}.toml").write_text(content, encoding="utf-8")
    world.texts[f"profile {name}"] = content.rpartition("password = ")[2].strip().strip('"')
    env = {"AUDITPIPE_HOME": str(home), "AUDITPIPE_PROFILE": name}
    world.run(f"profile {name}", "search", code=2, **env)


def emitting(world: World, forward: str) -> None:
    """Secrets in events, by the command line and by an application; a shipper that wants another shared key; none."""
    key = {"AUDITPIPE_FORWARD": forward, "AUDITPIPE_FORWARD_SHARED_KEY_FILE": str(world.planted / "shared key")}
    world.texts |= {name: canary.make(name) for name in ("field", "typed", "person")}
    hidden, typed, person = (world.texts[name] for name in ("field", "typed", "person"))
    states = ("--before", json.dumps({"password": hidden, "n": 1}), "--after", json.dumps({"password": "", "n": 2}))
    details = ("--details", json.dumps({"nested": [{"name": "api_key", "value": hidden}], "Authorization": hidden}))
    world.run("emit", "emit", *ACTION, *states, *details, "--org", world.org, "-o", "ndjson", **key)
    world.run("typed", "emit", "user.login_failed", "--reason", "unknown_account", "--actor-name", typed, **key)
    keys = write_keys(world.planted / "pseudonym keys", f"now {secrets.token_hex(32)}")
    world.texts["pseudonym key"] = keys.read_text().split()[1]
    known = {**key, "AUDITPIPE_PSEUDONYM_KEY_FILE": str(keys)}
    named = (
        "--actor-name",
        person,
        "--after",
        json.dumps({"last_name": person}),
        "--details",
        json.dumps({"by": person}),
    )
    world.run("a person", "emit", *ACTION, *named, "--org", world.org, "-o", "ndjson", **known)
    for wrong in (f'["{hidden}"]', f'{{"password": "{hidden}"', json.dumps({"password": [[hidden] * 9]})[:-1]):
        world.run("no JSON", "emit", *ACTION, "--details", wrong, code=2, **key)
    lines = (
        {"event": {"action": "user.user.updated"}, "audit": {"details": {"password": hidden}}},
        {"action": "user.user.updated", "details": {"password": hidden}, "nonsense": 1},
        {"event": {"action": "user.user.updated"}, "audit": {"changes": [{"field": "pwd", "after": {"x": [hidden]}}]}},
        {"event": {"action": "user.user.updated"}, "audit": {"hash": "0", "details": {"password": hidden}}},
    )
    for number, line in enumerate(lines):
        world.run(f"line {number}", "emit", "--file", "-", stdin=line, code=(0, 2), **key)
        world.run(f"line {number}, validated", "schema", "validate", "-", stdin=line, code=(0, 1), **key)
    same = new_event_id(time.time_ns())
    for number in (1, 2):  # the second is another event under the first one's id: a dead letter
        conflict = {"action": "user.user.updated", "event_id": same, "details": {"password": hidden, "n": number}}
        world.run("a conflict", "emit", "--file", "-", stdin=conflict, **key)
    (world.planted / "wrong key").write_text(canary.make("wrong key"), encoding="utf-8")
    world.texts["wrong key"] = (world.planted / "wrong key").read_text(encoding="utf-8")
    wrong_key = {**key, "AUDITPIPE_FORWARD_SHARED_KEY_FILE": str(world.planted / "wrong key")}
    wrong_key["AUDITPIPE_SPOOL_DIR"] = str(world.work / "a spool that waits")
    world.run("wrong shared key", "emit", *ACTION, *states, *details, **wrong_key)
    for command in (("list",), ("show",), ("drain", "--timeout", "1")):
        world.run(f"spool {command[0]}", "spool", *command, code=(0, 1, 2, 3), **wrong_key)
    application(world, {**known, "AUDITPIPE_SPOOL_DIR": str(world.work / "spool of an application")})


def application(world: World, env: dict[str, str]) -> None:
    """Its last `emit` ends it with a traceback."""
    given = json.dumps({**world.texts, "org": world.org})
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION],
        input=given,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, True), done.stderr
    assert "True Stats(" in done.stdout, done
    world.said["application"] = done.stdout + done.stderr


def looking(world: World) -> None:
    """What was stored, by every command that shows something."""
    mine = ("--org", world.org)
    until(lambda: len(world.done("search", *mine, "-o", "ndjson").documents) >= 5)
    for output in ("table", "json", "ndjson", "csv"):
        world.run(f"search {output}", "search", *mine, "-o", output)
    for document in world.done("search", *mine, "-o", "ndjson").documents:
        for output in ("text", "json"):
            world.run("show", "show", document["event"]["id"], "-o", output)
    for kind in ("ndjson", "csv"):
        world.run("export", "export", *mine, "--to", f"all.{kind}", "-o", kind, "--purpose", "a look")
    world.run("verify a file", "verify", "all.ndjson", code=(0, 1))
    world.run("verify", "verify", *mine, code=(0, 1, 3))
    for command in ("status", "doctor"):
        for output in ("text", "json"):
            world.run(command, command, "-o", output, code=(0, 1, 3))
    new = world.plant("new password")
    user = f"canary-{secrets.token_hex(4)}"
    world.texts["new password"] = f"Aa1-{secrets.token_urlsafe(16)}"
    Path(new).write_text(world.texts["new password"] + "\n", encoding="utf-8")
    world.run("grant", "access", "grant", user, "--role", "admin", *mine, "--user-password-file", new)
    world.run("revoke", "access", "revoke", user, "--role", "admin", *mine)
    for command in (("list",), ("check", user), ("log", "--since", "1h")):
        world.run("access", "access", *command, code=(0, 1))
    letters = world.work / "dead letters"
    world.run("dead letters", "deadletter", "list", "--dir", str(letters), code=1)
    for file in letters.glob("*.ndjson"):
        world.run("dead letters", "deadletter", "show", file.name, "--dir", str(letters))
    shipper, operator = {"AUDITPIPE_PROFILE": "shipper"}, {"AUDITPIPE_PROFILE": "operator"}
    world.run("replay", "deadletter", "replay", "--dir", str(letters), code=1, **shipper)
    user = {
        "AUDITPIPE_USERNAME": "superadmin",
        "AUDITPIPE_PASSWORD_FILE": str(world.node.home / "secrets" / "superadmin"),
    }
    away = {"AUDITPIPE_URL": world.node.url, "AUDITPIPE_CA_FILE": str(world.node.ca_file), "AUDITPIPE_PROFILE": ""}
    away |= {**user, "AUDITPIPE_DASHBOARDS_URL": f"http://127.0.0.1:{free_port()}"}
    world.run("dashboards", "dashboards", "import", "--wait", "0", code=3, **away)
    world.run("dashboards", "dashboards", "check", code=(0, 1))
    again = ("provision", "--super-admin", "superadmin", "--super-admin-password-file", new)
    world.run("provision", *again, "--dry-run", code=1, **operator)
    hold = ("hold", "add", f"case-{world.org}", *mine, "--reason", "a canary")
    world.run("hold", *hold, **operator)
    for command in (("hold", "release", hold[2], "--reason", "sung"), ("retention", "show"), ("hold", "list", "--all")):
        world.run(command[0], *command, **operator)


def console(world: World) -> None:
    """Sign in with a wrong password, as someone unknown, and rightly."""
    port = free_port()
    world.texts[NAME_AT_SIGN_IN] = canary.make("name")
    env = {"AUDITPIPE_SPOOL_DIR": str(world.work / "console spool"), "AUDITPIPE_FORWARD": "127.0.0.1:1"}
    with world.running("console", "console", "--listen", f"127.0.0.1:{port}", **env) as process:
        until(lambda: b"The console is at" in (world.work / "console.log").read_bytes())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=180) as browser:
            answers = [sign_in(browser, "superadmin", world.texts["password"])]
            answers.append(sign_in(browser, world.texts[NAME_AT_SIGN_IN], world.texts["field"]))
            answers.append(sign_in(browser, "superadmin", world.node.super_admin.password or ""))
            answers.append(browser.get("/", params={"org": world.org}))
            assert [answer.status_code for answer in answers[2:]] == [303, 200]
        world.said["console's answers"] = "".join(f"{answer.headers}{answer.text}" for answer in answers)
        world.said["console's process"] = of_process(process.pid)


def pages(world: World, address: str) -> None:
    """The relay's pages for monitoring."""
    for path in ("/metrics", "/healthz"):
        world.said[f"relay{path}"] = page(f"http://{address}{path}")


def page(url: str) -> str:
    """What is there."""
    answer = httpx.get(url, timeout=120)
    return answer.text if answer.status_code == 200 else ""


def of_process(pid: int) -> str:
    """What `ps` and /proc tell of a process."""
    read = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    return os.fsdecode(b"\n".join(read))
