"""Signing in while the node, or the room for what goes on record, is missing: what is a failed try and what is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditpipe.dashboards.console import person, throttle
from auditpipe.schemas.errors import NotAllowed, SpoolFull
from tests.dashboards.console.conftest import Served, console, sign_in

TRIES = throttle.FAILURES + 1


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Served]:
    """A console whose node is not there."""
    with console("https://127.0.0.1:9", None, tmp_path) as made:
        yield made


def statuses(served: Served) -> list[int]:
    with served.browser() as browser:
        return [sign_in(browser, "ada", "right").status_code for _ in range(TRIES)]


def test_an_outage_of_the_node_is_nobodys_failure(away: Served) -> None:
    assert statuses(away) == [503] * TRIES
    assert away.console.throttle._failed == {}


def test_a_bug_is_nobodys_failure(away: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(person, "sign_in", broken)
    assert statuses(away) == [500] * TRIES


def test_a_refusal_that_can_not_be_put_on_record_is_a_failure_all_the_same(
    away: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a full spool would let passwords be tried without end."""

    def refuses(*_args: object, **_kwargs: object) -> None:
        raise NotAllowed("wrong password")

    def full(*_args: object, **_kwargs: object) -> None:
        raise SpoolFull("the spool has reached its limit")

    monkeypatch.setattr(person, "sign_in", refuses)
    away.console.record = full
    assert statuses(away) == [503] * throttle.FAILURES + [429]
