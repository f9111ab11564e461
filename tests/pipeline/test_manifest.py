"""A manifest is not signed: it is believed in nothing that an export would not say."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.manifest import Head, Heads, Manifest, name_of
from auditpipe.pipeline.manifest_check import problems
from auditpipe.schemas.errors import Finding, UsageError
from tests.builders import stream

MANIFEST = Manifest(
    **{"file": "f.ndjson", "format": "ndjson", "sha256": "0" * 64, "size": 10, "count": 2},
    **{"filter": {"org": "acme", "until": "2026-02-01T00:00:00.000000Z"}, "since": None},
    **{"until": "2026-02-01T00:00:00.000000Z", "whole_streams": True, "exported_at": "2026-02-02T00:00:00.000000Z"},
    **{"exported_by": "ada", "purpose": None, "tool": "auditpipe 0", "schemas": ["1.0"]},
    **{"cluster": {"name": "c", "uuid": None, "opensearch": "3.4.0"}, "streams": [Head("s", 1, 2, 2, "0" * 64)]},
)
CONTENT: dict[str, Any] = orjson.loads(MANIFEST.to_json())
HEAD = CONTENT["streams"][0]


def wrong(**members: Any) -> str:
    return "; ".join(problems({**CONTENT, **members}))


def read(folder: Path, content: bytes) -> Manifest:
    path = folder / "m.json"
    path.write_bytes(content)
    return Manifest.read(path)


def test_what_an_export_writes_is_read_back(tmp_path: Path) -> None:
    assert read(tmp_path, MANIFEST.to_json()) == MANIFEST


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"manifest": "9.9"}, "its version is '9.9', this auditpipe knows '1.0'"),
        ({"manifest": None}, "its version is None"),
        ({"format": "xml"}, "format: expected ndjson or csv, got 'xml'"),
        ({"since": "garbage"}, "since: expected an RFC 3339 time or null, got 'garbage'"),
        ({"until": 5}, "until: expected"),
        ({"exported_at": "garbage"}, "exported_at: expected an RFC 3339 time, got 'garbage'"),
        ({"exported_at": 5}, "exported_at: expected"),
        ({"exported_at": None}, "exported_at: expected"),
        ({"exported_at": "2026-13-01T00:00:00Z"}, "exported_at: expected"),
        ({"file": ""}, "file: expected"),
        ({"sha256": "0" * 63}, "sha256: expected 64 hex digits"),
        ({"size": -1}, "size: expected"),
        ({"count": True}, "count: expected"),
        ({"filter": {"org": 5}}, "filter: expected"),
        ({"whole_streams": 1}, "whole_streams: expected true or false, got 1"),
        ({"cluster": []}, "cluster: expected"),
        ({"streams": {}}, "streams: expected"),
        ({"streams": [{**HEAD, "first": "1"}]}, "streams[0].first: expected"),
        ({"streams": [{**HEAD, "more": 1}]}, "streams[0].'more' is no member"),
        ({"signature": "x"}, "'signature' is no member of a manifest"),
        ({"since": "2026-01-01T00:00:00Z", "filter": {"since": "2025-01-01T00:00:00Z"}}, "its filter says"),
        ({"whole_streams": False}, "whole_streams is false, its filter says otherwise"),
        ({"filter": {"actor": "ada"}}, "whole_streams is true, its filter says otherwise"),
        ({"streams": [{**HEAD, "first": 3}]}, "stream 's': 2 events from 3 to 2"),
        ({"streams": [{**HEAD, "count": 1}, {**HEAD, "count": 1}]}, "a stream is there twice"),
        ({"count": 1}, "count is 1, its streams have more"),
    ],
)
def test_what_no_export_says_is_a_finding(tmp_path: Path, members: dict[str, Any], said: str) -> None:
    assert said in wrong(**members)
    with pytest.raises(Finding):
        read(tmp_path, orjson.dumps({**CONTENT, **members}))


@pytest.mark.parametrize("name", sorted(CONTENT.keys() - {"manifest"}))
def test_every_member_must_be_there(name: str) -> None:
    assert "; ".join(problems({key: value for key, value in CONTENT.items() if key != name})) == f"{name} is missing"


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(sorted(CONTENT)), ANYTHING),
    st.dictionaries(st.sampled_from(sorted(HEAD)), ANYTHING),
)
def test_whatever_it_holds_it_is_judged(members: dict[str, Any], head: dict[str, Any]) -> None:
    content = {**CONTENT, "streams": [{**HEAD, **head}], **members}
    if not list(problems(content)):
        Manifest(**{**content, "streams": [Head(**item) for item in content["streams"]]}).to_json()
        assert content["format"] in ("ndjson", "csv")
        assert isinstance(content["exported_at"], str)


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"{}", b'{"format": "csv"}', b"\xff", b"[" * 5000])
def test_what_is_no_manifest_is_wrong_usage(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="expected a manifest"):
        read(tmp_path, content)


def test_a_member_given_twice_is_a_finding(tmp_path: Path) -> None:
    forged = MANIFEST.to_json().replace(b"{", b'{"purpose": "another",', 1)
    with pytest.raises(Finding, match="'purpose' is there twice"):
        read(tmp_path, forged)


@pytest.mark.parametrize("sequence", [True, 0, -3, "1"])
def test_a_number_that_is_none_makes_no_head(sequence: Any) -> None:
    document = stream(1)[0]
    document["audit"]["sequence"] = sequence
    heads = Heads()
    heads.add(document)
    assert heads.streams() == []


def test_a_name_that_is_no_text_has_one_in_the_manifest() -> None:
    assert name_of(Path("a\udcff")) == "a\ufffd"
