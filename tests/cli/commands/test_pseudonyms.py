"""Who has the keys finds a person whose values became pseudonyms; who has none finds nothing."""

from pathlib import Path

import orjson
import pytest

from auditpipe.emitters import AuditLog, MemoryTransport
from tests.builders import Document, event
from tests.conftest import RealOpenSearch
from tests.keys import OLD, write_keys
from tests.stored import Ran, ids, organization, run, store

EMAIL, ADDRESS = "ada.canary@example.com", "198.51.100.23"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "pseudonym.keys"


@pytest.fixture(scope="module")
def stored(opensearch: RealOpenSearch, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """One event under an old key, one under a new, one plain, one of someone else."""
    name = organization()
    spool = tmp_path_factory.mktemp("spool")

    def emitted(actor: str) -> Document:
        given = {"transport": MemoryTransport(), "spool_dir": spool, "pseudonym_key_file": str(keys)}
        with AuditLog("accounts", organization=name, **given) as audit:  # type: ignore[arg-type]
            done = audit.emit("user.login_succeeded", actor={"id": "u1", "email": actor}, ip=ADDRESS)
        assert done is not None
        return done.document()

    write_keys(keys, f"old {OLD}")
    old = emitted(EMAIL)
    write_keys(keys, f"new {'ab' * 32}", f"old {OLD}")
    plain = event(organization__id=name, user__email=EMAIL, source__ip=ADDRESS, related={"user": [EMAIL]})
    return store(opensearch, [old, emitted(EMAIL), plain, emitted("someone@example.com")])


def search(opensearch: RealOpenSearch, stored: list[Document], *arguments: str, **env: str) -> Ran:
    own = ("--org", stored[0]["organization"]["id"], "--sort", "asc")
    return run("search", *own, "-o", "ndjson", *arguments, env={**opensearch.environment(), **env})


@pytest.mark.opensearch
@pytest.mark.parametrize("flag", ["--actor", "--user"])
def test_a_person_is_found_under_every_key(
    opensearch: RealOpenSearch, stored: list[Document], keys: Path, flag: str
) -> None:
    with_keys = search(opensearch, stored, flag, EMAIL, "--pseudonym-key-file", str(keys))
    assert sorted(ids(with_keys.documents)) == sorted(ids(stored[:3])), with_keys
    assert ids(search(opensearch, stored, flag, EMAIL).documents) == ids(stored[2:3])


@pytest.mark.opensearch
def test_an_address_is_found_by_the_environments_keys_and_a_range_is_not(
    opensearch: RealOpenSearch, stored: list[Document], keys: Path
) -> None:
    env = {"AUDITPIPE_PSEUDONYM_KEY_FILE": str(keys)}
    assert len(search(opensearch, stored, "--ip", ADDRESS, **env).documents) == 4
    assert ids(search(opensearch, stored, "--ip", "198.51.100.0/24", **env).documents) == ids(stored[2:3])


@pytest.mark.opensearch
def test_an_export_finds_the_same_and_verify_takes_it(
    opensearch: RealOpenSearch, stored: list[Document], keys: Path, tmp_path: Path
) -> None:
    file = ("--pseudonym-key-file", str(keys))
    env = opensearch.environment()
    own = ("--org", stored[0]["organization"]["id"])
    done = run("export", *own, "--actor", EMAIL, "--to", "ada.ndjson", *file, env=env, cwd=tmp_path)
    assert done.code == 0, done
    lines = (tmp_path / "ada.ndjson").read_bytes().splitlines()
    assert sorted(ids([orjson.loads(line) for line in lines])) == sorted(ids(stored[:3]))
    assert run("verify", "ada.ndjson", env=env, cwd=tmp_path).code == 0
    manifest = (tmp_path / "ada.ndjson.manifest.json").read_text()
    assert OLD not in manifest and "hmac" not in manifest


def test_emit_of_the_command_line_replaces_what_is_named(keys: Path, tmp_path: Path) -> None:
    write_keys(keys)
    env = {"AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool"), "AUDITPIPE_FORWARD": "127.0.0.1:1"}
    actor = ("user.login_succeeded", "--actor", "u1", "--actor-name", EMAIL, "-o", "ndjson")
    done = run("emit", *actor, "--pseudonym-key-file", str(keys), env=env)
    assert done.code == 0
    [document] = done.documents
    assert document["user"]["name"].startswith("hmac-sha256:now:")
    assert EMAIL not in done.out + done.err
    spooled = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert document["user"]["name"].encode() in spooled
    assert EMAIL.encode() not in spooled


@pytest.mark.parametrize(
    "command", [("search", "--actor", "x", "--url", "http://127.0.0.1:1"), ("emit", "user.deleted")]
)
def test_a_key_file_that_others_may_read_is_usage(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = write_keys(tmp_path / "keys")
    path.chmod(0o644)
    done = run(*command, "--pseudonym-key-file", str(path), env={"AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")})
    assert (done.code, "chmod 600" in done.err) == (2, True), done
