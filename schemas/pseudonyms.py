"""Keyed hashes in place of personal values (HMAC-SHA-256, RFC 2104), and the keys that make and find them.

A key file has a key a line, `ID HEX`: 64 hex digits under a short name. The first key makes pseudonyms; those below it
are kept so that what they made is still found. `#` begins a comment. Standard library alone.
"""

import hmac
import ipaddress
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auditpipe.schemas.errors import SettingsError

#: The name of the setting that names the file.
SETTING = "pseudonym_key_file"
#: Addresses that no packet comes from (RFC 9637, for documentation): an `ip` field takes nothing but an address.
ADDRESSES = ipaddress.IPv6Network("3fff::/20")

_DOMAIN = b"auditpipe pseudonym 1\0"
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_MADE = re.compile(r"hmac-sha256:(?:[a-z0-9][a-z0-9_-]{0,31}:)?[0-9a-f]{64}", re.ASCII)
_LINE = "expected an id of lower-case letters, digits, - and _, a blank, and 64 hex digits"


@dataclass(frozen=True, slots=True)
class PseudonymKeys:
    """The keys of one file, the current one first."""

    _keys: tuple[tuple[str, bytes], ...] = field(repr=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys."""
        return tuple(name for name, _ in self._keys)

    def pseudonym(self, text: str) -> str:
        """What stands for this text: `hmac-sha256:ID:HEX`; for an address an address in 3fff::/20.

        Equal texts have equal pseudonyms, wherever they stand. What is a pseudonym already stays as it is.
        """
        return text if is_pseudonym(text) else _made(*self._keys[0], text)

    def known_as(self, text: str) -> tuple[str, ...]:
        """The text itself and its pseudonym under each key: all that it may be stored as."""
        return (text, *(_made(name, key, text) for name, key in self._keys))

    def pseudonyms(self, text: str) -> tuple[str, ...]:
        """Its pseudonym under each key, without the text itself, unless that is a pseudonym already."""
        return (text,) if is_pseudonym(text) else self.known_as(text)[1:]


def is_pseudonym(text: str) -> bool:
    """Whether this has the form of a pseudonym, of whichever key."""
    if _MADE.fullmatch(text):
        return True
    address = _address(text)
    return address is not None and address.version == 6 and address in ADDRESSES


def _made(name: str, key: bytes, text: str) -> str:
    address = _address(text)
    digest = hmac.digest(key, _DOMAIN + (text if address is None else str(address)).encode(), "sha256")
    if address is None:
        return f"hmac-sha256:{name}:{digest.hex()}"
    free = 128 - ADDRESSES.prefixlen
    return str(ADDRESSES[int.from_bytes(digest) >> (256 - free)])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "." not in text and ":" not in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def read_keys(path: str | Path) -> PseudonymKeys:
    """The keys of a file that nobody but its owner may read. SettingsError says what is wrong, and never a key."""
    try:
        with Path(path).expanduser().open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise _wrong(path, f"can't be read: {why}") from None  # the cause would quote the bytes
    if stat.S_IMODE(mode) & 0o077:
        raise _wrong(path, f"others may read it (mode {stat.S_IMODE(mode):04o}): chmod 600 it")
    keys = dict(_parsed(path, lines))
    if not keys:
        raise _wrong(path, f"has no key: {_LINE}")
    return PseudonymKeys(tuple(keys.items()))


def _parsed(path: str | Path, lines: list[str]) -> Iterator[tuple[str, bytes]]:
    seen = set()
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not _KEY_ID.fullmatch(words[0]) or not _KEY.fullmatch(words[1]):
            raise _wrong(path, f"line {number}: {_LINE}")
        if words[0] in seen:
            raise _wrong(path, f"line {number}: there is a key {words[0]} above it; give each an id of its own")
        seen.add(words[0])
        yield words[0], bytes.fromhex(words[1])


def _wrong(path: str | Path, problem: str) -> SettingsError:
    return SettingsError(f"{SETTING}: {path} {problem}")
