"""The search for canaries finds each form; a search that finds nothing would pass every test."""

import base64
import gzip
import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.canary import Canaries, make

WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "json": json.dumps,
    "json of Unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "url": quote,
    "form": quote_plus,
    "lower url": lambda text: quote(text, safe="").lower(),
    "html": html.escape,
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic": lambda text: base64.b64encode(f"ada:{text}".encode()).decode(),
    "within base64": lambda text: base64.b64encode(f"ad:{text}, and more".encode()).decode(),
    "within base64url": lambda text: base64.urlsafe_b64encode(f"a{text}!".encode()).decode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_each_form_is_found(how: str, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    canaries = Canaries({"one": one, "other": other})
    written = f"before {WRITTEN[how](one)} after"
    assert canaries.in_data(written) == canaries.in_data(written.encode()) == {"one"}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text(written, encoding="utf-8")
    (tmp_path / "log.gz").write_bytes(gzip.compress(written.encode()))
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    assert sorted(canaries.in_files(tmp_path)) == [
        str(tmp_path / name) for name in ("deep/file", "link/file", "log.gz")
    ]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    canaries = Canaries({"one": make("one")})
    assert canaries.in_data(f"{make('one')} {make('two')}") == set()
    assert canaries.in_files(tmp_path, tmp_path / "none") == {}
