"""A window of a real Chromium on the console, watched for all that a page must not do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from auditpipe.schemas.settings import Settings
from tests.dashboards.console.conftest import Served

WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
_PATIENCE_MS = 60_000


@contextmanager
def launched() -> Iterator[Any]:
    """Debian's Chromium, or another one on PATH, driven by Playwright; else the tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'auditpipe[dev]'")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(names)}): apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Chromium refuses its sandbox to root, as who CI often runs.
        chromium = driver.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        yield chromium
        chromium.close()


@dataclass
class Tab:
    """A page, and everything that it did which it should not."""

    page: Any
    origin: str
    size: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(f"console: {said.text}"))
        self.page.on("request", self._check)

    def _check(self, request: Any) -> None:
        if not request.url.startswith(self.origin + "/"):
            self.wrong.append(f"request to {request.url}")

    def words(self, selector: str = "main") -> str:
        return " ".join(self.page.inner_text(selector).split())


@contextmanager
def tab(chromium: Any, served: Served, person: Settings | None, **options: Any) -> Iterator[Tab]:
    """A window of its own, signed in by the form, watched."""
    options = {"viewport": WIDE, **options}
    context = chromium.new_context(base_url=served.url, **options)
    made = Tab(context.new_page(), served.url, options["viewport"])
    made.watch()
    try:
        if person is not None:
            _cookie(context, served, person)
        yield made
        assert made.wrong == []
    finally:
        context.close()


def _cookie(context: Any, served: Served, person: Settings) -> None:
    """The session of a sign-in by form, made without a window: each takes the node a while."""
    with served.signed_in(person) as browser:
        context.add_cookies([{"name": "auditpipe", "value": browser.cookies["auditpipe"], "url": served.url}])


def violations(page: Any) -> str:
    """What axe-core finds on a page, in words: all of WCAG 2.2 AA that it can tell, colours in both themes."""
    driver = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core: install auditpipe[dev]")
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    found = []
    for scheme, options in (("light", rules), ("dark", colours)):
        page.emulate_media(color_scheme=scheme)
        result = driver.Axe().run(page, options=options)
        found += [f"{scheme}: {result.generate_report()}"] if result.violations_count else []
    return "".join(found)
