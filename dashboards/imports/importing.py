"""The import: wait, look, send, read back; and if that did not all work, put back what was there.

A second run writes the same over the same. What an answer says is not believed: Dashboards lists objects as imported
that it did not write, and takes another tenant without a word. So the tenant is asked for before anything is sent, and
each object is read back after.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditpipe.dashboards.imports import answers
from auditpipe.dashboards.imports.server import Dashboards
from auditpipe.dashboards.objects.saved import SavedObject
from auditpipe.schemas.errors import AuditpipeError, Finding, NotAllowed, NotFinished, OutOfReach

_POLL_S = 1.0

Before = Mapping[str, SavedObject | None]


@dataclass(frozen=True, slots=True)
class Report:
    """`type/id` of what was not there before, of what was otherwise, and of what was the same already."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]


def wait(server: Dashboards, patience_s: float, waiting: Callable[[OutOfReach], None] = lambda _: None) -> None:
    """Return when Dashboards has started. NotFinished after `patience_s` seconds, NotAllowed at once.

    `waiting` is called with the first reason to wait.
    """
    deadline, told = time.monotonic() + patience_s, False
    while True:
        try:
            server.ready()
            return
        except OutOfReach as error:
            if time.monotonic() >= deadline:
                raise NotFinished(f"after {patience_s:.0f} s: {error}") from error
            if not told:
                waiting(error)
            told = True
        time.sleep(_POLL_S)


def run(server: Dashboards, objects: Sequence[SavedObject]) -> Report:
    """Import the objects into the server's tenant. Finding, NotAllowed, OutOfReach: then all is as it was before.

    NotFinished: it could not be put back either; the message says what is left.
    """
    server.check_tenant()
    before = server.read(_names(objects))
    try:
        _send(server, objects)
        _read_back(server, objects)
    except BaseException as error:  # Ctrl-C too: half an import is no state to leave behind
        _put_back(server, objects, before, error)
        raise
    return _report(objects, before)


def _send(server: Dashboards, objects: Sequence[SavedObject]) -> None:
    answer = server.import_file(objects)
    if answer.get("success") is True:
        return
    said = "; ".join(answers.import_errors(answer)) or "it does not say why"
    error = NotAllowed if answers.is_forbidden(answer) else Finding
    raise error(f"{server.peer.url} did not import all: {said}")


def _read_back(server: Dashboards, objects: Sequence[SavedObject]) -> None:
    found = server.read(_names(objects))
    wrong = [one.name for one in objects if not _same(one, found.get(one.name))]
    if wrong:
        raise Finding(
            f"{server.peer.url} said that it imported all, and {', '.join(wrong)} read back otherwise, or not at all"
        )


def _put_back(server: Dashboards, objects: Sequence[SavedObject], before: Before, cause: BaseException) -> None:
    """As it was: what was there is written again, what was not is removed, and both are looked at."""
    try:
        now = server.read(_names(objects))
        altered = [one for one in objects if not _unaltered(before.get(one.name), now.get(one.name))]
        old = [was for one in altered if (was := before.get(one.name)) is not None]
        if old:
            server.write(old)
        for one in altered:
            if before.get(one.name) is None:
                server.delete(one)
        now = server.read(_names(objects)) if altered else now
        left = [one.name for one in altered if not _unaltered(before.get(one.name), now.get(one.name))]
    except AuditpipeError as error:
        raise NotFinished(
            f"{cause}; what was there before could not be put back ({error}): run it again when it can answer"
        ) from cause
    if left:
        raise NotFinished(f"{cause}; {', '.join(left)} could not be put back as before: run it again") from cause


def _report(objects: Sequence[SavedObject], before: Before) -> Report:
    created = tuple(one.name for one in objects if before.get(one.name) is None)
    same = tuple(one.name for one in objects if _same(one, before.get(one.name)))
    changed = tuple(one.name for one in objects if one.name not in {*created, *same})
    return Report(created, changed, same)


def _names(objects: Sequence[SavedObject]) -> Iterator[tuple[str, str]]:
    return ((one.type, one.id) for one in objects)


def _same(sent: SavedObject, found: SavedObject | None) -> bool:
    return found is not None and (dict(sent.attributes), set(sent.references)) == (
        dict(found.attributes),
        set(found.references),
    )


def _unaltered(was: SavedObject | None, now: SavedObject | None) -> bool:
    return now is None if was is None else _same(was, now)
