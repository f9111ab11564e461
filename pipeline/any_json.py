"""JSON of whatever a node may have stored and answered: also what no event of ours has and orjson refuses.

OpenSearch keeps a document as the bytes that came, and of a field that it does not index it looks at no character. So
texts may hold lone surrogates (RFC 8259 section 8.2), there may be a thousand levels, comments, and a mark of byte
order; that may not keep a reader from the events beside it.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

_ANY = "auditpipe.any"

#: Levels that orjson reads. A node takes 1,000, or `opensearch.xcontent.depth.max`; its answer has five more.
_MOST_LEVELS = 1_024
#: Levels for which the json module, which calls itself for each, has frames enough wherever it is called.
_AT_ONCE = 256
#: What levels are counted by; and the constants of Python's, of which JSON has none.
_PIECE = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]|NaN|Infinity', re.DOTALL)
#: What Jackson passes over between the tokens of JSON, and texts, in which it is none of that.
_PASSED_OVER = re.compile(r'("(?:[^"\\]++|\\.)*+")|/\*.*?\*/|//[^\r\n]*|\ufeff', re.DOTALL)

_NOTHING = object()
_encode = json.JSONEncoder(ensure_ascii=False).encode


def loaded(data: bytes | str) -> Any:
    """The value; lone surrogates as they came, numbers beyond all doubles as infinite. ValueError: it is no JSON."""
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.decode() if isinstance(data, bytes) else _paired(data)
        try:
            return json.loads(text)
        except RecursionError:
            return _in_parts(text)


def answered(text: str) -> Any:
    """The value of a node's answer, without comments that were stored with a document. ValueError: it is no JSON."""
    try:
        return loaded(text)
    except ValueError:
        return loaded(_PASSED_OVER.sub(lambda found: found[1] or " ", text))


def dumped(value: Any, *, indent: bool = False) -> str:
    """JSON text, in which lone surrogates stand as they are. TypeError for what JSON has no form of."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
    except TypeError:
        return "".join(_texts(value, indent))


def utf8(data: bytes) -> bytes:
    """The same, with every byte that is no UTF-8 as a lone surrogate (PEP 383), in three bytes ("surrogatepass").

    The node lets characters through that are longer than they should be, or beyond the last one.
    """
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", _ANY).encode("utf-8", "surrogatepass")
    return data


def _any(error: UnicodeError) -> tuple[str | bytes, int]:
    """A surrogate that came as three bytes stays one, whatever else is beside it."""
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeDecodeError:
        return codecs.lookup_error("surrogateescape")(error)


codecs.register_error(_ANY, _any)


def _paired(text: str) -> str:
    """Two surrogates that came as three bytes each are one character, as they are to the node and as escapes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _in_parts(text: str) -> Any:
    """As `json.loads`. What lies deep is read by itself, and put in where a constant stands."""
    around: list[str] = []
    deep: list[Any] = []
    begin = 0
    for start, end in _deep(text):
        around += (text[begin:start], "NaN")
        deep.append(_in_parts(text[start:end]))
        begin = end
    values = iter(deep)
    return json.loads("".join(around) + text[begin:], parse_constant=lambda _: next(values))


def _deep(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of all that lies as deep as is read at once. ValueError: too deep, or a constant."""
    level = begin = 0
    for piece in _PIECE.finditer(text):
        match piece[0]:
            case "[" | "{":
                level += 1
                if level == _AT_ONCE:
                    begin = piece.start()
                if level > _MOST_LEVELS:
                    raise ValueError("it is nested too deeply")
            case "]" | "}":
                if level == _AT_ONCE:
                    yield begin, piece.end()
                level -= 1
            case "NaN" | "Infinity":
                raise ValueError(f"{piece[0]} is no JSON")


def _texts(value: Any, indent: bool) -> Iterator[str]:
    """Pieces of JSON as orjson, which writes 254 levels, lays it out."""
    colon = ": " if indent else ":"
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        before, value, level = waiting.pop()
        yield before
        if value is _NOTHING:
            continue
        if not isinstance(value, dict | list | tuple) or not value:
            yield _scalar(value)
            continue
        if level == _MOST_LEVELS:
            raise TypeError("it is nested too deeply")
        line, below = (_line(level), _line(level + 1)) if indent else ("", "")
        opening, closing, inner = _inside(value, colon)
        yield opening
        waiting.append((line + closing, _NOTHING, level))
        waiting += [(f",{below}{name}", one, level + 1) for name, one in inner[:0:-1]]
        waiting.append((below + inner[0][0], inner[0][1], level + 1))


def _inside(value: dict[Any, Any] | list[Any] | tuple[Any, ...], colon: str) -> tuple[str, str, list[tuple[str, Any]]]:
    """The brackets, and what is between them: what stands before each value, and the value."""
    if isinstance(value, dict):
        return "{", "}", [(_key(key) + colon, inner) for key, inner in value.items()]
    return "[", "]", [("", inner) for inner in value]


def _line(level: int) -> str:
    return "\n" + "  " * level


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"expected text as a key, got {key!r}")
    return _encode(key)


def _scalar(value: Any) -> str:
    """As orjson writes numbers: null for those without a form."""
    return "null" if isinstance(value, float) and not math.isfinite(value) else _encode(value)
