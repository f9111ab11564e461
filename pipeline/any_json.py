"""JSON of whatever a node may have stored and answered: also what no event of ours has and orjson refuses.

OpenSearch keeps a document as the bytes that came, and of a field that it does not index it looks at no character. So
texts may hold lone surrogates (RFC 8259 section 8.2); that may not keep a reader from the events beside it.
"""

import codecs
import json
import math
from typing import Any

import orjson

_ANY = "auditpipe.any"


def loaded(data: bytes | str) -> Any:
    """The value; lone surrogates as they came, numbers beyond all doubles as infinite. ValueError: it is no JSON."""
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.decode() if isinstance(data, bytes) else _paired(data)
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def dumped(value: Any, *, indent: bool = False) -> str:
    """JSON text, in which lone surrogates stand as they are. TypeError for what JSON has no form of."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
    except TypeError:
        colon = ": " if indent else ":"
        spaces = 2 if indent else None
        return json.dumps(_finite(value), ensure_ascii=False, indent=spaces, separators=(",", colon))


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


def _finite(value: Any) -> Any:
    """As orjson writes numbers: null for those without a form."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
