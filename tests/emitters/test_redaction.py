"""Secrets do not enter an event, whatever they are wrapped in; odd arguments do not break the caller."""

import base64
import enum
import json
from pathlib import Path
from typing import Any

import pytest

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.emitters.redaction import Redactor
from auditpipe.schemas.errors import InvalidEvent, UsageError

CANARY = "canary-4711"


class Field(enum.Enum):
    PASSWORD = "password"
    SETTINGS = {"client_secret": CANARY, "n": 1}  # noqa: RUF012  # the point: a value that holds a secret


class Name(str, enum.Enum):  # noqa: UP042  # the older form is what many applications have
    TOKEN = "token"


@pytest.mark.parametrize(
    "arguments",
    [
        {"changes": [{"field": "profile", "after": {"password": CANARY}}]},
        {"changes": [{"field": "profile", "before": [{"id": 1, "api-key": CANARY}], "after": None}]},
        {"changes": [{"field": "a.token.b", "after": CANARY}]},
        {"after": {Field.PASSWORD: CANARY}},
        {"after": {Name.TOKEN: CANARY, "x": {Name.TOKEN: CANARY}}},
        {"before": {"f": Field.SETTINGS}},
        {"details": {"f": Field.SETTINGS, "list": [[{"PassWord": CANARY}]]}},
        {"details": {"\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44": CANARY}},
        {"after": {"pwd": CANARY, "Set-Cookie": CANARY, "authorization": CANARY, "signingKey": CANARY, "otp": CANARY}},
        {"after": {"profile": {"salary": CANARY}}},
        {"changes": [{"field": "profile", "after": {"salary": CANARY}}]},
        {"changes": [{"field": "headers", "after": {"name": "Password", "value": CANARY}}]},
        {"changes": [{"field": "header", "before": ["Authorization", CANARY]}]},
        {"before": {"form": [{"key": "api_key", "value": CANARY}]}, "after": {"headers": [("Authorization", CANARY)]}},
        {"before": {"keys": [{"id": "token", "x": 1}]}, "after": {"keys": [{"id": "token", "x": CANARY}]}},
        {"details": {"form": [{"field": "profile.salary", "before": CANARY, "after": CANARY}]}},
        {"details": {"headers": [(b"authorization", CANARY.encode())], "one": ["X-Api-Key", CANARY]}},
        {"details": {b"password": CANARY, "header": {"Header": "Set-Cookie", "VALUE": [CANARY]}}},
    ],
)
def test_a_secret_is_withheld_whatever_it_is_wrapped_in(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path, redact=["profile.salary"]) as audit:
        event = audit.emit("user.user.updated", **arguments)
    assert event is not None
    text = json.dumps(event.document())
    assert CANARY not in text
    assert base64.b64encode(CANARY.encode()).decode() not in text
    assert event.audit.redacted


@pytest.mark.parametrize(
    "name",
    [
        *("user_pwd", "new-pwd", "dbPwd", "user_pass", "oldPass", "user_pin", "pinCode", "otp_code", "totp.seed"),
        *("cookies", "sessionCookie", "card_cvc", "cardCVC", "Proxy-Authorization", "cvv"),
    ],
)
def test_short_words_are_known_as_parts_of_a_name(name: str) -> None:
    assert Redactor().is_secret(name)
    assert Redactor().is_secret(f"a.{name}.b")


def test_redact_takes_one_name_or_many_and_nothing_else(tmp_path: Path) -> None:
    with AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path, redact="ssn") as audit:
        event = audit.emit("user.user.updated", after={"ssn": CANARY, "s": "1"})
    assert event is not None
    assert (event.audit.redacted, event.audit.changed) == (["ssn"], ["s"])
    for wrong in (5, [5], [None], [""], ["a", "-"]):
        with pytest.raises(UsageError, match="redact: expected"):
            AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path, redact=wrong)  # type: ignore[arg-type]


def test_words_that_only_look_like_secrets_stay() -> None:
    redactor = Redactor()
    innocent = (
        "shipping",
        "cookie_consent",
        "passenger",
        "opinion",
        "author",
        "keyboard",
        "compass",
        "spinner",
        "passed",
    )
    for name in (*innocent, "pass_rate", "mapPing", "a.b.topology"):
        assert not redactor.is_secret(name), name


class Odd:
    """What a caller may hand over by mistake."""

    def __str__(self) -> str:
        raise RuntimeError(CANARY)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(CANARY)

    __hash__ = None  # type: ignore[assignment]


def cyclic() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["self"] = [state]
    return state


def deep() -> Any:
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    return {"v": value}


@pytest.mark.parametrize(
    "arguments",
    [
        {"before": cyclic()},
        {"details": deep()},
        {"changes": 5},
        {"changes": {"field": "a"}},
        {"changes": [{"field": "\ud800"}]},
        {"involved": 5},
        {"outcome": []},
        {"reason": {}},
        {"session": 10**5000},
        {"organization": Odd()},
        {"before": {"password": Odd()}, "after": {"password": Odd()}},
        {"actor": {"id": Odd()}},
        {"target": Odd()},
        {"occurred_at": Odd()},
    ],
)
def test_no_argument_breaks_the_caller_otherwise_than_by_name(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """With `raise` an InvalidEvent that quotes nothing secret, with `continue` None."""
    with AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path) as audit:
        with pytest.raises(InvalidEvent) as caught:
            audit.emit("user.user.updated", **arguments)
        assert CANARY not in str(caught.value)
    with AuditLog("s", transport=MemoryTransport(), spool_dir=tmp_path, on_failure="continue") as audit:
        assert audit.emit("user.user.updated", **arguments) is None
        assert audit.emit([], **arguments) is None  # type: ignore[arg-type]
        assert audit.stats().refused == 2
