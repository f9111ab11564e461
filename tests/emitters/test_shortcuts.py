"""Whatever is done once, or in fewer steps, gives what the plain way gives."""

from typing import Any

import msgpack
import pytest
from fluent.sender import EventTime
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from auditpipe.emitters import AuditLog, forward
from auditpipe.schemas import identity
from auditpipe.schemas.catalogue import PLACEHOLDERS, Action, builtin
from auditpipe.schemas.errors import InvalidEvent
from auditpipe.schemas.event import ChangeValue, Event, Scalar
from auditpipe.schemas.sentence import sentence
from auditpipe.schemas.values import plain

texts = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)


class Text(str):
    """Equal to a str, and none."""

    __slots__ = ()


@given(st.integers(0, identity.LATEST_NS), st.dictionaries(texts, values, max_size=3))
def test_an_entry_is_msgpack_of_time_and_record(moment: int, record: dict[str, Any]) -> None:
    record = plain(record, "record")  # type: ignore[assignment]
    assert forward.entry(moment, record) == msgpack.packb((EventTime.from_unix_nano(moment), record))


def test_parts_that_were_checked_before_are_those_of_the_document(audit_log: AuditLog) -> None:
    for _ in range(3):
        event = audit_log.emit("user.user.updated", actor="u1", target="user:u7", before={"a": 1}, after={"a": True})
        assert event is not None
        fresh = Event.model_validate(event.document())
        assert event == fresh
        assert event.document() == fresh.document()
        assert event.model_dump() == fresh.model_dump()


@given(values | st.lists(values, max_size=3))
def test_the_first_type_of_a_change_value_that_fits_is_the_only_one(value: Any) -> None:
    def taken(annotation: Any) -> Any:
        try:
            made = TypeAdapter(annotation, config={"strict": True}).validate_python(value)
        except ValidationError:
            return "refused"
        return type(made), repr(made)

    assert taken(ChangeValue) == taken(Scalar | list[Scalar])


@given(values | st.builds(Text, texts))
def test_a_value_is_the_same_inside_an_object(value: Any) -> None:
    assert plain({"key": value}, "field") == {"key": plain(value, "field")}
    assert type(plain({"key": value}, "field")["key"]) is type(plain(value, "field"))  # type: ignore[index, call-overload]


def test_lone_surrogates_are_found_inside_objects_too() -> None:
    for bad in ({"key": "\ud800"}, {"\ud800": "value"}):
        with pytest.raises(InvalidEvent, match="surrogate"):
            plain(bad, "field")


@given(st.integers(0, identity.LATEST_NS), st.integers(-2, 2))
def test_the_text_of_a_second_serves_only_that_second(ns: int, seconds: int) -> None:
    """Neighbours one after the other, so that a text that was kept too long is seen."""
    for moment in (ns, min(max(ns + seconds * identity.SECOND, 0), identity.LATEST_NS), ns):
        assert identity.parse_time(identity.format_time(moment)) == moment


@pytest.mark.parametrize("placeholder", sorted(PLACEHOLDERS))
def test_every_placeholder_is_filled(placeholder: str, audit_log: AuditLog) -> None:
    event = audit_log.emit("user.user.updated", actor="u1", target="user:u7", before={"a": 1}, after={"a": 2})
    assert event is not None
    given = builtin()["user.user.updated"]
    action = Action(given.action, given.title, f"<{{{placeholder}}}> {{{{}}}}", given.category, given.type)
    assert action.placeholders == (placeholder,)
    text = sentence(action, event.document())
    assert text.startswith("<") and text.endswith("> {}") and f"{{{placeholder}" not in text
