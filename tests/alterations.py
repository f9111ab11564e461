"""What a forger does to stored events, made up from a seed: for files and for the index.

Each takes a list of documents, alters it in place and says how far it went: see `Reach`.
"""

import copy
import random
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import orjson

from tests.builders import Document, event, seal, stream


class Reach(Enum):
    """What shows it. `EVENTS`: the events themselves. `END`: only what knows how a stream ended or which there were."""

    EVENTS = "events"
    END = "end"


Alteration = Callable[[list[Document], random.Random], Reach]

#: Characters that look like others, or like nothing.
_LOOK_ALIKE = {"a": "\u0430", "e": "\u0435", "o": "\u03bf", "i": "\u0456", "-": "\u2010", " ": "\u00a0", ".": "\u2024"}
_UNSEEN = ("\u200b", "\u202e", "\ufeff", "\u0301", " ", "\t")


def originals() -> list[Document]:
    """Two streams whose events have something of everything, in the order of an export."""
    details = {"note": "café, naïve", "nested": {"list": [1, 2, {"x": None}], "flag": True}, "empty": [], "n": -7}
    name = {"field": "last_name", "before": "Doe", "after": "Dow"}
    changes = [name, {"field": "age", "before": 1, "after": [1, "2"]}]
    involved = [{"type": "user", "id": "u9"}, {"type": "team", "id": "t1", "name": "Łódź"}]
    fields: dict[str, Any] = {"audit__details": details, "audit__changes": changes, "audit__involved": involved}
    documents = [*stream(8, **fields), *stream(5, user__full_name="O\u2019Hara", user__roles=["admin", "auditor"])]
    documents = own(documents)
    return sorted(documents, key=lambda document: (document["@timestamp"], document["event"]["id"]))


def own(documents: list[Document]) -> list[Document]:
    """A copy of them that shares nothing, neither with them nor within: an alteration is of one."""
    return [orjson.loads(orjson.dumps(document)) for document in documents]


def change(documents: list[Document], rng: random.Random) -> Reach:
    """Something in one event, at any depth: a value, a type, a key, an order, a look-alike, a blank."""
    document = rng.choice(documents)
    before = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    while orjson.dumps(document, option=orjson.OPT_SORT_KEYS) == before:
        container, key = rng.choice([*_places(document)])
        rng.choice([_replace, _retype, _remove, _add, _rename, _reorder, _disguise, _blank])(container, key, rng)
    return Reach.EVENTS


def reseal(documents: list[Document], rng: random.Random) -> Reach:
    """A text in one event, by one that fits as well, with the hash that it then has."""
    document = rng.choice(documents)
    places = [*_places(document["user"]), *_places(document["audit"]["target"])]
    container, key = rng.choice([(inner, key) for inner, key in places if isinstance(inner[key], str)])
    _replace(container, key, rng)
    seal(document)
    return _reach(document, documents)


def drop(documents: list[Document], rng: random.Random) -> Reach:
    """An event."""
    document = documents[rng.randrange(len(documents))]
    reach = _reach(document, documents)
    documents.remove(document)
    return reach


def double(documents: list[Document], rng: random.Random) -> Reach:
    """An event once more."""
    documents.insert(rng.randrange(len(documents) + 1), copy.deepcopy(rng.choice(documents)))
    return Reach.EVENTS


def renumber(documents: list[Document], rng: random.Random) -> Reach:
    """Two events of one stream change places, hashes and all."""
    one, two = rng.sample([d for d in documents if d["audit"]["stream"] == documents[0]["audit"]["stream"]], 2)
    for part in ("sequence", "previous"):
        one["audit"][part], two["audit"][part] = two["audit"][part], one["audit"][part]
    seal(one)
    seal(two)
    return Reach.EVENTS


def squeeze_in(documents: list[Document], rng: random.Random) -> Reach:
    """A forged event where there is one already, or one beyond the end that does not follow on it."""
    place = rng.choice(documents)["audit"]
    number = place["sequence"] + rng.choice((0, 100))
    forged = {"audit__stream": place["stream"], "audit__sequence": number, "audit__previous": place["previous"]}
    documents.append(event(**forged, message="forged"))
    return Reach.EVENTS


def extend(documents: list[Document], rng: random.Random) -> Reach:
    """A forged event that follows on the last of a stream as it should."""
    stream_id = rng.choice(documents)["audit"]["stream"]
    audits = [d["audit"] for d in documents if d["audit"]["stream"] == stream_id]
    last = max(audits, key=lambda audit: int(audit["sequence"]))
    place = {"audit__sequence": last["sequence"] + 1, "audit__previous": last["hash"], "audit__stream": stream_id}
    documents.append(event(**place, message="forged"))
    return Reach.END


def insert(documents: list[Document], rng: random.Random) -> Reach:
    """A stream that never was."""
    documents[rng.randrange(len(documents)) : 0] = stream(rng.choice((1, 3)))
    return Reach.END


def _reach(document: Document, documents: list[Document]) -> Reach:
    audit = document["audit"]
    follows = any(
        other["audit"]["stream"] == audit["stream"] and other["audit"]["sequence"] > audit["sequence"]
        for other in documents
    )
    return Reach.EVENTS if follows else Reach.END


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in [*items]:
        yield value, key
        yield from _places(inner)


def _replace(container: Any, key: Any, rng: random.Random) -> None:
    value = container[key]
    other: Any = f"forged{rng.randrange(1000)}"
    if isinstance(value, bool):
        other = not value
    elif isinstance(value, int):
        other = value + rng.choice((-1, 1, 1000))
    container[key] = other


def _retype(container: Any, key: Any, rng: random.Random) -> None:
    value = container[key]
    container[key] = rng.choice([None, [value], {"value": value}, str(value), 1.5, 0, True, ""])


def _remove(container: Any, key: Any, _rng: random.Random) -> None:
    del container[key]


def _add(container: Any, key: Any, rng: random.Random) -> None:
    if isinstance(container, list):
        container.insert(key, rng.choice([container[key], "forged", None]))
    else:
        container[f"forged{rng.randrange(1000)}"] = rng.choice(["x", None, {}, []])


def _rename(container: Any, key: Any, rng: random.Random) -> None:
    if isinstance(container, dict):
        container[rng.choice([key.upper(), f"{key} ", f"{key}\u200b", key[::-1] + "_"])] = container.pop(key)


def _reorder(container: Any, _key: Any, rng: random.Random) -> None:
    if isinstance(container, list):
        rng.shuffle(container)


def _disguise(container: Any, key: Any, rng: random.Random) -> None:
    value = container[key]
    if isinstance(value, str) and (found := [at for at, char in enumerate(value) if char in _LOOK_ALIKE]):
        at = rng.choice(found)
        container[key] = value[:at] + _LOOK_ALIKE[value[at]] + value[at + 1 :]


def _blank(container: Any, key: Any, rng: random.Random) -> None:
    value = container[key]
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        container[key] = value[:at] + rng.choice(_UNSEEN) + value[at:]
