"""Looking for texts that must not be there, in whatever form they may have been written."""

import base64
import gzip
import html
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus


def make(name: str) -> str:
    """A text that is nowhere else, with characters that each encoding writes in another way."""
    return f"Canary {name}/\u00e4\"'&<{secrets.token_hex(8)}"


def forms(text: str) -> frozenset[bytes]:
    """How it may be written: plain, in JSON, Python, a URL, HTML, hex, and base64 at any place of a longer one."""
    data = text.encode()
    texts = [text, repr(text)[1:-1], quote(text, safe=""), quote(text), quote_plus(text), html.escape(text), data.hex()]
    texts += [json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    texts += [one.lower() for one in texts if "%" in one] + [data.hex().upper()]
    for place in range(3):
        whole = base64.b64encode(b"\0" * place + data)
        # The first and the last character may also be of what stands beside it.
        part = whole[-(-place * 8 // 6) : (place + len(data)) * 8 // 6]
        texts += [part.decode(), part.decode().translate(str.maketrans("+/", "-_"))]
    return frozenset(one.encode() for one in texts)


class Canaries:
    """Texts by name, and where they are found."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._forms = {name: forms(text) for name, text in texts.items()}

    def in_data(self, data: bytes | str) -> set[str]:
        """The names of those that are in it."""
        held = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        return {name for name, written in self._forms.items() if any(form in held for form in written)}

    def in_files(self, *roots: Path) -> dict[str, set[str]]:
        """The same by file, below these folders, for the files that hold one; what is gone by then holds none."""
        found = {}
        for path in (path for root in roots for path in walk(root)):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            names = self.in_data(gzip.decompress(data) if path.suffix == ".gz" else data)
            if names:
                found[str(path)] = names
        return found


def walk(root: Path) -> Iterable[Path]:
    """Every file below a folder, through links to folders too."""
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_dir():
            yield from walk(path)
        elif path.is_file():
            yield path
