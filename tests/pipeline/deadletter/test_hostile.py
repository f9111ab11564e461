"""A folder of dead letters in which anything may lie: nothing that could not be read is removed or hidden, or raises.

Damaged files are those that a real Fluent Bit and our own writer made, cut and altered; the rest is random.
"""

import os
import tempfile
from pathlib import Path
from time import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditpipe.cli.entry import main
from auditpipe.pipeline.deadletter import chunkfile
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.letters import Letter, read_letters
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.deadletter.store import WAITING, letter
from auditpipe.pipeline.relay.records import Event, Reason, Refused
from auditpipe.pipeline.relay.transport import Answer
from tests.pipeline.deadletter.test_chunkfile import REAL, chunk_file
from tests.pipeline.relay.wire import START, entry, record

CHUNK = REAL.read_bytes()
LETTERS = b"".join(
    letter(one, START)
    for one in (
        Refused(Reason("bad_id", "x"), "audit", START, None, b'{"a":1}'),
        Refused(Reason("missing_index", "x"), "audit", START, None, chunkfile.to_json(record(), b"")),
        Refused(Reason("undecodable", "x"), "audit", None, "i", packed=b"\xc1"),
    )
)
#: Where its file may lie, and how it may be called.
PLACES = (
    "{}.flb",
    "{}.ndjson",
    f"{WAITING}/{{}}.ndjson",
    "replaying/1-{}.flb",
    "replaying/1-{}.ndjson",
    "refused/{}.ndjson",
)
MORE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file with some bytes altered, cut out, put in, or cut off."""
    data = bytearray(draw(st.sampled_from([CHUNK, LETTERS, chunk_file(entry(record()) + entry(record()))])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["alter", "cut", "insert", "end"]))
        if how == "alter" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 200))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=50))
        elif how == "end":
            del data[at:]
    return bytes(data)


contents = st.binary(max_size=200) | damaged() | st.binary(max_size=100).map(chunk_file)


class Taking:
    """A cluster that takes every event, and remembers it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def post(self, path: str, body: bytes) -> Answer:
        documents = body.split(b"\n")[1::2]
        self.taken += documents
        return Answer(200, {"items": [{"create": {"status": 201}} for _ in documents]})


def lay(root: Path, place: str, content: bytes) -> Path:
    path = root / place.format("audit_0_opensearch.0_0x1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time() - 60, time() - 60))
    return path


def held(root: Path) -> list[Letter]:
    return [one for file in dead.files(root) for one in dead.letters_of(file)]


@MORE
@given(st.lists(st.tuples(st.sampled_from(PLACES), contents), min_size=1, max_size=3))
def test_whatever_lies_there_is_counted_shown_and_sent_or_kept(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = {lay(root, place, content): content for place, content in files}
        for file in dead.files(root):
            summary = dead.summarize(file)
            assert summary.count == len(list(dead.letters_of(file)))
            assert summary.count or not is_something(file), "a file with something in it is not empty"
        assert main(["deadletter", "list", "--dir", folder]) == 1
        for path in paths:
            assert main(["deadletter", "show", str(path), "--dir", folder]) == 0
            assert main(["deadletter", "show", str(path), "--dir", folder, "-o", "ndjson"]) == 0
        before = held(root)
        cluster = Taking()
        result = Replayer(cluster).round(dead.files(root))
        assert result.left == []
        after = held(root)
        assert result.done + len(after) == len(before), "each was stored or is still here"
        assert len(cluster.taken) == result.done
        unreadable = [line(one) for one in before if one.reason.type == "unreadable"]
        assert sorted(line(one) for one in after if one.reason.type == "unreadable") == sorted(unreadable)


def line(one: Letter) -> bytes:
    """Its bytes; a line may have been kept with its end or without."""
    return (one.packed or b"").removesuffix(b"\n")


def is_something(file: dead.DeadFile) -> bool:
    """Whether it holds more than the zeros and empty lines that a writer may leave."""
    return bool(file.path.read_bytes().strip(b"\0\n\t \r\v\f")) if not file.is_chunk else not is_empty_chunk(file.path)


def is_empty_chunk(path: Path) -> bool:
    try:
        return not chunkfile.read_content(path.read_bytes()).strip(b"\0")
    except ValueError:
        return False


@MORE
@given(damaged())
def test_no_byte_of_a_damaged_chunk_is_hidden(data: bytes) -> None:
    """What is read as events and what is told as unreadable are together all that the file says it holds."""
    found = list(chunkfile.read_events(data, "t"))
    last = [one.packed or b"" for one in found if isinstance(one, Refused) and one.reason.type == "unreadable"]
    assert len(last) <= 1
    if chunkfile.damage(data[: chunkfile.HEADER], len(data)):
        assert last, "that something is missing is told, even if all that is there was read"
        assert data.endswith(last[0])
        return
    content = chunkfile.read_content(data)
    assert content.endswith(last[0] if last else b"")
    good = content[: len(content) - len(last[0])] if last else content
    assert bool(good.strip(b"\0")) == any(isinstance(one, Event) or one.reason.type != "unreadable" for one in found)


@MORE
@given(contents)
def test_every_line_is_a_letter(data: bytes) -> None:
    lines = data.split(b"\n")
    assert len(list(read_letters(lines))) == sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize("form", ["text", "json", "ndjson"])
def test_an_id_that_is_no_text_is_shown(tmp_path: Path, form: str) -> None:
    """Found by the test above: a byte that had gone made an id of the bytes behind it."""
    path = lay(tmp_path, "{}.flb", CHUNK.replace(b"\xd9$009a5fe1", b"\xd9009a5fe1", 1))
    assert main(["deadletter", "show", str(path), "--dir", str(tmp_path), "-o", form]) == 0


def test_a_chunk_that_is_shorter_than_it_says_does_not_stop_the_others(tmp_path: Path) -> None:
    lay(tmp_path, "{}.flb", CHUNK[:1000])
    good = tmp_path / "audit_0_opensearch.0_0x2.flb"
    good.write_bytes(chunk_file(entry(document := record())))
    os.utime(good, (time() - 30, time() - 30))
    cluster = Taking()
    result = Replayer(cluster).round(dead.waiting(tmp_path))
    sound = [one.document for one in chunkfile.read_events(CHUNK, "audit") if isinstance(one, Event)]
    number = len(cluster.taken) - 1
    assert 0 < number < len(sound)
    assert cluster.taken[:number] == sound[:number], "what was written before the cut"
    assert document["event"]["id"].encode() in cluster.taken[-1]
    assert (result.done, result.refused, result.left) == (number + 1, 1, [])
    [kept] = held(tmp_path)
    assert kept.reason.type == "unreadable"
    assert "expected 1948 bytes, the file has 1000" in kept.reason.detail
    assert CHUNK[:1000].endswith(kept.packed or b"nothing")
    assert [file.kind for file in dead.files(tmp_path)] == [dead.Kind.REFUSED]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(tmp_path, "{}.flb", CHUNK).chmod(0)
    assert main(["deadletter", "list", "--dir", str(tmp_path)]) == 3
    assert "can't be read" in capsys.readouterr().err
