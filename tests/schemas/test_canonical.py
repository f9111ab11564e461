"""Canonical bytes are those of RFC 8785, by its reference implementation in Python."""

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.schemas.canonical import canonical_bytes, document_hash
from auditpipe.schemas.values import MAX_INTEGER

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
documents = st.dictionaries(text, values, max_size=6)


@given(documents)
def test_bytes_equal_rfc_8785(document: dict[str, Any]) -> None:
    assert canonical_bytes(document) == rfc8785.dumps(document)


@given(documents)
def test_bytes_survive_a_round_trip_through_json(document: dict[str, Any]) -> None:
    assert canonical_bytes(json.loads(json.dumps(document))) == canonical_bytes(document)


def test_keys_are_ordered_by_utf_16_units() -> None:
    """U+1F600 begins with the unit D83D, below U+FB00: code points would say the opposite."""
    document = {"\ufb00": 1, "\U0001f600": 2, "a": {"\ufb00": [{"\ufb00": 1, "\U0001f600": 2}], "\U0001f600": 2}}
    assert canonical_bytes(document) == rfc8785.dumps(document)
    assert canonical_bytes(document).index("\U0001f600".encode()) < canonical_bytes(document).index("\ufb00".encode())


INFINITE = [float("inf"), float("-inf"), float("nan"), [None, {"b": float("inf")}]]


@pytest.mark.parametrize("bad", [2**53, -(2**53), "\ud800", {1: 2}, {"\udfff": 1}, object(), *INFINITE])
def test_what_has_no_canonical_form_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical_bytes({"a": bad})


def test_null_and_its_name_have_canonical_bytes_however_deep() -> None:
    value: Any = [None, "null", 1.5]
    for _ in range(250):
        value = [value]
    assert canonical_bytes({"a": value}).count(b"null") == 2


def test_an_auditor_can_check_the_hash_alone() -> None:
    """The recipe of the documents, with nothing of ours in it."""
    document = {"message": "ä", "audit": {"sequence": 1, "previous": "0" * 64}}
    recipe = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    sealed = {**document, "audit": {**document["audit"], "hash": "whatever"}}  # type: ignore[dict-item]
    assert document_hash(sealed) == hashlib.sha256(recipe).hexdigest()
    assert sealed["audit"]["hash"] == "whatever"  # type: ignore[index]
