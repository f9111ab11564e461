"""With a key, no personal value is in an event, and everything else is; who has the key finds it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.schemas import privacy, published
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import SettingsError, UsageError
from auditpipe.schemas.event import Event
from auditpipe.schemas.pseudonyms import read_keys
from tests.keys import OLD, write_keys

Emit = Callable[..., Event]

ADA, TESS, EMAIL, ADDRESS, BROWSER = "Ada Lovelace", "Tess Test", "ada@example.com", "192.0.2.7", "Canary/1.0 (X11)"
PERSONAL = (ADA, TESS, EMAIL, ADDRESS, BROWSER, "ada.l", "Doe", "Dow-Jones")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys")


@pytest.fixture
def emit(keys: Path, tmp_path: Path) -> Emit:
    def emit(action: str = "user.user.updated", chosen: Any = None, **arguments: Any) -> Event:
        given = {"pseudonym_key_file": str(keys), "pseudonymize": chosen, "spool_dir": tmp_path / "spool"}
        with AuditLog("accounts", organization="acme", transport=MemoryTransport(), **given) as audit:
            event = audit.emit(action, **arguments)
        assert event is not None
        assert published.problems(event.document(), builtin()) == []
        assert event.hash == document_hash(event.document())
        return event

    return emit


def text_of(event: Event) -> str:
    return json.dumps(event.document(), ensure_ascii=False)


def test_no_personal_value_is_left_in_any_copy(emit: Emit, keys: Path) -> None:
    event = emit(
        actor={"id": "u1", "name": "ada.l", "full_name": ADA, "email": EMAIL, "roles": ["admin"]},
        target={"type": "user", "id": "u7", "name": TESS},
        involved=[{"type": "user", "id": EMAIL, "name": ADA}, {"type": "device", "name": f" {EMAIL.upper()}"}],
        before={"last_name": "Doe", "profile": {"phones": [4915112345]}, "contacts": [{"email": EMAIL}], "n": 1},
        after={"last_name": "Dow-Jones", "profile": {"phones": [4915167890]}, "contacts": [{"email": "x@y.z"}], "n": 2},
        details={
            "note": f"{ADA.upper()} wrote to <{EMAIL}> of Ms Dow-Jones", EMAIL: 1, "list": [ADA, {"by": f"({TESS})"}],
            "json": json.dumps({"who": ADA}), "ip": ADDRESS, "log": f"from {ADDRESS}:443", "nested": {"email": "p@q.r"},
        },
        ip=ADDRESS, user_agent=BROWSER, session="ada.l", request=EMAIL, trace="t1", key=f"{ADA} ",
    )  # fmt: skip
    text = text_of(event).casefold()
    left = [word for word in (*PERSONAL, "4915112345", "x@y.z", "p@q.r") if word.casefold() in text]
    assert left == []
    made = read_keys(keys).pseudonym
    assert event.user is not None and event.audit.target is not None and event.related is not None
    assert event.user.email == made(EMAIL) == made(EMAIL)
    assert event.user.email.startswith("hmac-sha256:now:")
    assert (event.user.id, event.user.roles, event.audit.target.id) == ("u1", ["admin"], "u7")
    assert event.user.target is not None and event.user.target.name == event.audit.target.name == made(TESS)
    assert {made(EMAIL), made(TESS), "u1", "u7"} <= set(event.related.user or ())
    assert event.related.ip == [made(ADDRESS)]
    assert event.audit.details is not None
    assert event.audit.details["note"] == f"{made(ADA)} wrote to <{made(EMAIL)}> of Ms {made('Dow-Jones')}"
    assert event.message.startswith(f"{made(ADA)} changed ")
    changes = {change["field"]: change for change in event.document()["audit"]["changes"]}
    assert changes["last_name"] == {"field": "last_name", "before": made("Doe"), "after": made("Dow-Jones")}
    assert changes["n"] == {"field": "n", "before": 1, "after": 2}
    assert {"last_name", "profile.phones", "contacts", "n"} >= set(event.audit.changed or ())


def test_a_word_that_holds_a_name_is_no_copy_of_it(emit: Emit) -> None:
    event = emit(
        actor={"id": "anna-7", "name": "Anna"},
        details={"where": "Savannah", "who": "Anna", "of": "Bo"},
        target="user:Bo1",
    )
    details = event.document()["audit"]["details"]
    assert event.user is not None and event.user.id == "anna-7"
    assert (details["where"], details["who"]) == ("Savannah", event.user.name)
    short = emit(actor={"id": "u1", "name": "Bo"}, details={"of": "Bo", "in": "Bo came"})
    details = short.document()["audit"]["details"]
    assert (details["of"], details["in"]) == (short.user.name, "Bo came")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "other"), [("Wei\u00df", "WEISS"), ("Stra\u00dfer", "strasser"), ('O"Hara', 'o"hara')]
)
def test_a_copy_in_other_case_is_none_left(emit: Emit, name: str, other: str) -> None:
    event = emit(actor={"id": "u1", "name": name}, details={"a": f"by {other}.", "b": [json.dumps({"x": other})]})
    text = text_of(event).casefold()
    for form in (name.casefold(), other.casefold(), json.dumps(other.casefold())[1:-1]):
        assert form not in text


def test_an_address_becomes_an_address_that_an_ip_field_takes(emit: Emit, keys: Path) -> None:
    made = read_keys(keys).pseudonym
    one, same, other = (emit("user.login_succeeded", actor="u1", ip=ip) for ip in (ADDRESS, f" {ADDRESS}", "192.0.2.8"))
    assert one.source is not None and same.source is not None and other.source is not None
    assert one.source.ip == same.source.ip == made(ADDRESS) != other.source.ip
    assert one.source.ip.startswith("3fff:")
    assert made("2001:db8::1") == made("2001:DB8:0::1")


def test_the_application_chooses(emit: Emit, keys: Path) -> None:
    made = read_keys(keys).pseudonym
    event = emit(
        chosen=["user.id", "changes.nick", "details.customer.iban", "audit.target.id", "audit.session.id"],
        actor={"id": "u-4711", "name": "ada"}, target="user:u-1", session="s-1",
        changes=[
            {"field": "nick", "before": None, "after": ["a", True, 7]}, {"field": "last_name", "after": "Dow"},
            {"field": "members.u-4711.role", "after": "x"}, {"field": "list", "after": {"nick": "z"}},
        ],
        details={"customer": {"iban": "DE1", "name": "c"}, "iban": "DE2", "email": EMAIL},
    )  # fmt: skip
    assert event.user is not None and (event.user.id, event.user.name) == (made("u-4711"), "ada")
    document = event.document()
    assert document["audit"]["changes"] == [
        {"field": "nick", "before": None, "after": [made("a"), True, made("7")]},
        {"field": "last_name", "after": "Dow"},
        {"field": f"members.{made('u-4711')}.role", "after": "x"},
        {"field": "list", "after": json.dumps({"nick": made("z")}, separators=(",", ":"))},
    ]
    assert document["audit"]["changed"][2] == f"members.{made('u-4711')}.role"
    assert document["audit"]["details"] == {
        "customer": {"iban": made("DE1"), "name": "c"}, "iban": "DE2", "email": EMAIL,
    }  # fmt: skip
    assert document["audit"]["session"]["id"] == made("s-1")
    assert document["user"]["target"]["id"] == document["audit"]["target"]["id"] == made("u-1")


def test_nothing_is_chosen_by_an_empty_list(emit: Emit) -> None:
    event = emit(chosen=[], actor={"id": "u1", "name": ADA}, ip=ADDRESS)
    assert event.user is not None and event.user.name == ADA


def test_a_service_is_no_person(emit: Emit) -> None:
    event = emit(actor={"id": "cron", "name": "accounts", "type": "service"}, target="user:u7")
    assert event.user is not None and event.user.name == "accounts"


def test_the_name_of_an_unknown_account_is_concealed_and_no_pseudonym(emit: Emit, keys: Path) -> None:
    typed = "Hunter2-canary"
    for changes in ({}, {"after": {"email": typed}}, {"changes": [{"field": "username", "after": typed}]}):
        event = emit(
            "user.login_failed", reason="unknown_account", actor={"name": typed}, ip=ADDRESS,
            details={"username": typed, "note": f"no {typed}"}, **changes,
        )  # fmt: skip
        text = text_of(event)
        assert typed not in text
        assert ADDRESS not in text
        assert read_keys(keys).pseudonym(typed) not in text
        assert event.message.startswith("Someone unknown")


def test_what_is_a_pseudonym_stays_one(emit: Emit) -> None:
    """A draft that was made of a stored event is the same event."""
    first = emit(actor={"id": "u1", "name": ADA}, ip=ADDRESS, after={"email": EMAIL})
    again = first.document()
    second = emit(
        actor=again["user"],
        ip=again["source"]["ip"],
        changes=again["audit"]["changes"],
        occurred_at=again["@timestamp"],
    )
    assert {**second.document(), "event": 0, "audit": 0} == {**again, "event": 0, "audit": 0}


def test_a_new_key_makes_new_pseudonyms_and_finds_the_old(tmp_path: Path, emit: Emit, keys: Path) -> None:
    before = emit(actor={"id": "u1", "name": ADA})
    write_keys(keys, "2027 " + "ab" * 32, "now " + OLD)
    after = emit(actor={"id": "u1", "name": ADA})
    assert before.user is not None and after.user is not None
    assert read_keys(keys).known_as(ADA) == (ADA, after.user.name, before.user.name)


def test_details_that_take_no_pseudonym_are_refused_and_not_stored_wrong(tmp_path: Path, keys: Path) -> None:
    from auditpipe.schemas.catalogue import Action

    schema = {"properties": {"email": {"type": "string", "maxLength": 50}}}
    act = Action("user.mail.sent", "Sent", "{actor} sent", ("email",), ("info",), details_schema=schema)
    given = {"spool_dir": tmp_path, "transport": MemoryTransport(), "pseudonym_key_file": str(keys)}
    with (
        AuditLog("s", actions=[act], **given) as audit,  # type: ignore[arg-type]
        pytest.raises(UsageError, match=r"details.*email") as error,
    ):
        audit.emit("user.mail.sent", actor="u1", details={"email": EMAIL})
    assert EMAIL not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("email", "user.email"), ("user.mail", "user.email"), ("changes.", "changes.NAME"),
        ("message", "changes.message"),
        ("source.address", "source.ip"), ("user.target.name", "user.name"), (7, "details.7"),
    ],
)  # fmt: skip
def test_an_unknown_field_is_refused_with_the_nearest(emit: Emit, wrong: Any, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"pseudonymize: no field .*{nearest.replace('.', '[.]')}"):
        emit(chosen=["user.name", wrong], actor="u1")


def test_fields_without_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no keys to do it with"):
        AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path, pseudonymize=["user.name"])


def test_the_environment_names_the_keys(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITPIPE_PSEUDONYM_KEY_FILE", str(keys))
    with AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path) as audit:
        event = audit.emit("user.login_succeeded", actor={"name": ADA})
    assert event is not None and event.user is not None and event.user.name != ADA


def test_every_choice_is_a_personal_field() -> None:
    assert {privacy.CLASSES[name.replace("involved.", "involved[].")] for name in privacy.CHOICES} == {"personal"}
    privacy.Chosen(privacy.DEFAULT)


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("", 0o600, "has no key"),
        ("# none\n\n", 0o600, "has no key"),
        ("now abc", 0o600, "line 1: expected an id"),
        ("ab" * 32, 0o600, "line 1: expected an id"),
        (f"a {'ab' * 32}\na {'cd' * 32}", 0o600, "line 2: there is a key a above it"),
        (f"A {'ab' * 32}", 0o600, "line 1"),
        (f"a {'ab' * 32}\u00e4", 0o600, "no ASCII text"),
        (f"a {'ab' * 32}", 0o640, "others may read it .mode 0640.: chmod 600 it"),
    ],
)
def test_a_key_file_that_is_none_is_refused_without_a_word_of_it(
    tmp_path: Path, content: str, mode: int, problem: str
) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=problem) as error:
        read_keys(path)
    assert "abab" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        read_keys(tmp_path / "none")


def test_keys_show_themselves_to_nobody(keys: Path) -> None:
    assert OLD not in repr(read_keys(keys))
    assert read_keys(keys).ids == ("now",)
