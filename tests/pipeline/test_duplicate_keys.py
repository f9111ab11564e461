"""Which JSON could be read in two ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.duplicate_keys import key_given_twice

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_a_json_writer_writes_has_no_key_twice(value: Any) -> None:
    assert key_given_twice(json.dumps(value).encode()) is None


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, min_size=1), st.data())
def test_a_key_written_again_is_named_wherever_it_stands(content: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(content)))
    forged = f"{{{json.dumps(key)}: {json.dumps(data.draw(VALUES))}, {json.dumps(content)[1:]}"
    assert key_given_twice(forged.encode()) == key
    assert key_given_twice(f'[{{"deeper": {forged}}}]'.encode()) == key


def test_a_key_in_escapes_is_the_same_key() -> None:
    assert key_given_twice(rb'{"message": 1, "mess\u0061ge": 2}') == "message"


def test_a_number_of_any_length_is_no_obstacle() -> None:
    assert key_given_twice(b'{"n": ' + b"9" * 10_000 + b"}") is None


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        key_given_twice(b"[" * 100_000 + b"]" * 100_000)
