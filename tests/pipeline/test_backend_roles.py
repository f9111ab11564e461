"""People whom the internal user database does not know: a token or a proxy says who they are and which backend roles
they have, the node checks it, and a grant to the backend role decides what they see."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearchpy.exceptions import AuthenticationException, AuthorizationException

from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.sign_in import further_ways, proxied, token
from tests.stored import Ran, organization, run_here, store
from tests.waiting import until

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module", autouse=True)
def ways(opensearch: RealOpenSearch) -> Iterator[None]:
    with further_ways(opensearch):
        yield


@pytest.fixture(scope="module")
def stored(opensearch: RealOpenSearch) -> list[Document]:
    """An event each of two organizations."""
    return store(opensearch, [event(organization__id=organization()) for _ in range(2)])


@pytest.fixture
def role(opensearch: RealOpenSearch) -> Iterator[str]:
    """A backend role that no other test has; nothing of it is left."""
    name = f"soc-{secrets.token_hex(4)}"
    yield name
    run_here("access", "revoke", "--backend-role", name, env=opensearch.environment())


def access(opensearch: RealOpenSearch, *arguments: str) -> Ran:
    return run_here("access", *arguments, env=opensearch.environment())


class Holder:
    """Someone who has nothing but a token."""

    def __init__(self, opensearch: RealOpenSearch, folder: Path, text: str) -> None:
        file = folder / "token"
        file.write_text(text + "\n")
        file.chmod(0o600)
        self._env = {"AUDITPIPE_URL": opensearch.url, "AUDITPIPE_CA_FILE": str(opensearch.ca_file)}
        self._env["AUDITPIPE_TOKEN_FILE"] = str(file)

    def run(self, *arguments: str) -> Ran:
        return run_here(*arguments, env=self._env)

    def finds(self, stored: list[Document], expected: list[bool]) -> bool:
        """Whether just these of the two events are found, a moment later at the latest: the node loads what a grant
        changes role by role."""
        deadline = time.monotonic() + 60
        while (found := self.organizations(stored)) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        return found == expected

    def organizations(self, stored: list[Document]) -> list[bool]:
        """Whether each of the two events is found.

        That a grant was made is an event of its organization, too: it is there where the node has a shipper by now.
        """
        found = []
        for document in stored:
            org = document["organization"]["id"]
            done = self.run("search", "--org", org, "-o", "ndjson")
            assert done.code == 0, done
            assert {one["organization"]["id"] for one in done.documents} <= {org}
            found.append(document in done.documents)
        return found


def test_a_token_with_a_granted_backend_role_searches_shows_and_exports(
    opensearch: RealOpenSearch, stored: list[Document], role: str, tmp_path: Path
) -> None:
    person = f"jo-{secrets.token_hex(4)}"
    holder = Holder(opensearch, tmp_path, token(person, role))
    refused = holder.run("search")
    assert refused.code == 4 and f"{person} may not read audit events" in refused.said
    granted = access(opensearch, "grant", "--backend-role", role, "--role", "admin")
    assert granted.code == 0 and f"whoever signs in with the backend role {role} has it" in granted.err, granted

    assert holder.finds(stored, [True, True])
    assert holder.run("show", stored[0]["event"]["id"], "-o", "json").code == 0
    file = tmp_path / "out.ndjson"
    assert holder.run("export", "--org", stored[0]["organization"]["id"], "--to", str(file)).code == 0
    assert json.loads(Path(f"{file}.manifest.json").read_text())["exported_by"] == person
    assert holder.run("verify", "--org", stored[0]["organization"]["id"]).code in (0, 1)
    assert holder.run("access", "list").code == 4

    assert access(opensearch, "revoke", "--backend-role", role).code == 0
    assert holder.run("search").code == 4
    assert access(opensearch, "revoke", "--backend-role", role).code == 1


def test_a_backend_role_is_held_to_its_organizations_and_its_end(
    opensearch: RealOpenSearch, stored: list[Document], role: str, tmp_path: Path
) -> None:
    first, second = (document["organization"]["id"] for document in stored)
    holder = Holder(opensearch, tmp_path, token("jo", role))
    limited = ("grant", "--backend-role", role, "--role", "auditor", "--org", first)
    assert access(opensearch, *limited).code == 0
    assert holder.finds(stored, [True, False])
    seen = holder.run("show", stored[1]["event"]["id"])
    assert seen.code == 5
    assert access(opensearch, "grant", "--backend-role", role, "--role", "auditor", "--org", second).code == 0
    assert holder.finds(stored, [True, True])
    assert access(opensearch, "revoke", "--backend-role", role, "--org", second).code == 0

    # To the second, and at least one from now.
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6))
    assert access(opensearch, *limited, "--until", end).code == 0
    rows = json.loads(access(opensearch, "list", "-o", "json").out)
    (row,) = (one for one in rows if one["backend_role"] == role)
    assert (row["user"], row["organization"]) == (None, first) and row["note"] in (None, "ended: revoke it")
    done = until(lambda: (done := holder.run("search")).code and done)
    assert done.code == 4 and "has ended" in done.said, done


@pytest.mark.parametrize(
    "text",
    [
        token("jo", "audit_admin", key=bytes(64)),
        token("jo", "audit_admin", seconds=-3600),
        token("jo", "audit_admin").rsplit(".", 1)[0] + ".",
        token("jo", "audit_super_admin", "audit_admin"),
    ],
    ids=["another's key", "over", "unsigned", "the names of our roles"],
)
def test_no_other_token_lets_in(opensearch: RealOpenSearch, tmp_path: Path, text: str) -> None:
    """A backend role is no role of the same name."""
    holder = Holder(opensearch, tmp_path, text)
    for arguments in (("search",), ("export", "--to", "-"), ("access", "list")):
        done = holder.run(*arguments)
        assert done.code == 4 and not done.out, done


def test_a_name_is_a_name_whichever_way_it_came(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    """docs/access-roles.md says so: whoever signs tokens can name anybody, a Super Admin too."""
    done = Holder(opensearch, tmp_path, token("superadmin")).run("access", "list")
    assert done.code == 0 and "superadmin" in done.out


def test_a_proxys_word_counts_as_a_token_does(opensearch: RealOpenSearch, stored: list[Document], role: str) -> None:
    client = opensearch.client(opensearch.settings("nobody", opensearch.home / "secrets" / "superadmin"))
    client.transport.get_connection().headers.pop("authorization")

    def count(*roles: str) -> int:
        path, body = "/audit-events-*/_count", {"query": {"term": {"event.id": stored[0]["event"]["id"]}}}
        headers = proxied("kim", *roles)
        return int(client.transport.perform_request("POST", path, body=body, headers=headers)["count"])

    assert access(opensearch, "grant", "--backend-role", role, "--role", "admin").code == 0
    assert count(role) == 1
    with pytest.raises(AuthorizationException):
        count("another")
    with pytest.raises(AuthenticationException):
        client.transport.perform_request("POST", "/audit-events-*/_count")


def test_an_internal_users_backend_role_counts_for_them_and_is_told(
    opensearch: RealOpenSearch, stored: list[Document], role: str
) -> None:
    person = opensearch.add_user()
    name = str(person.get("username"))
    patch = [{"op": "add", "path": "/backend_roles", "value": [role]}]
    opensearch.request("PATCH", f"/_plugins/_security/api/internalusers/{name}", patch)
    assert access(opensearch, "check", name).code == 1
    assert access(opensearch, "grant", "--backend-role", role, "--role", "admin", "--org", "acme").code == 0
    told = access(opensearch, "check", name)
    assert told.code == 0 and f"admin, organization acme, without an end (by the backend role {role})" in told.out
    # Nobody who has it gets an unlimited grant beside it, nor does the shipper get in by it.
    mixed = access(opensearch, "grant", name, "--role", "admin")
    assert mixed.code == 2 and f"access revoke --backend-role {role} --role admin" in mixed.err


def test_a_role_of_the_shippers_is_refused(opensearch: RealOpenSearch, role: str) -> None:
    name = str(opensearch.add_user("audit_writer").get("username"))
    patch = [{"op": "add", "path": "/backend_roles", "value": [role]}]
    opensearch.request("PATCH", f"/_plugins/_security/api/internalusers/{name}", patch)
    done = access(opensearch, "grant", "--backend-role", role, "--role", "admin")
    assert done.code == 2 and f"{name} ships events" in done.err
    opensearch.request("DELETE", f"/_plugins/_security/api/internalusers/{name}")


@pytest.mark.parametrize(
    "arguments", [["grant", "--role", "admin"], ["grant", "ada", "--backend-role", "b", "--role", "admin"], ["revoke"]]
)
def test_either_a_user_or_a_backend_role(opensearch: RealOpenSearch, arguments: list[str]) -> None:
    done = access(opensearch, *arguments)
    assert done.code == 2 and "give either a USER or --backend-role NAME" in done.said
