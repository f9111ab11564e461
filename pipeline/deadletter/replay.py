"""Dead letters sent again, until each event is stored or has been refused again.

Idempotent: an event is created under its id in its own month, so that what is there already answers 409 and is done if
its hash is the same. A file goes only when all of its events are done or kept in `refused/`; whatever interrupts a
replay, the next begins the file anew (what was refused may then be kept there twice). A file of parked events stays
where it is, since the relay may be writing to it, and holds after each round what OpenSearch still does not take.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from threading import Event as Stop
from time import monotonic

from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.collect import collect_forever
from auditpipe.pipeline.deadletter.letters import read_letters, to_event
from auditpipe.pipeline.deadletter.store import DeadLetters, with_reason
from auditpipe.pipeline.deadletter.together import together
from auditpipe.pipeline.relay.alarm import Alarm
from auditpipe.pipeline.relay.backoff import delay
from auditpipe.pipeline.relay.bulk import Attempt, attempt
from auditpipe.pipeline.relay.classify import Outcome, Verdict
from auditpipe.pipeline.relay.records import Event, Reason, Refused
from auditpipe.pipeline.relay.transport import Transport
from auditpipe.schemas.durable import sync_directory
from auditpipe.schemas.errors import NotFinished, SettingsError, SpoolError

BULK = 5_000_000

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Round:
    """What one round came to. `left` are the files to go on with; `down`: the cluster took nothing at all."""

    done: int = 0
    refused: int = 0
    left: list[dead.DeadFile] = field(default_factory=list)
    down: bool = False
    retry_after: float | None = None
    troubles: dict[str, str] = field(default_factory=dict)


class Replayer:
    """Sends files of dead letters again."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._alarm = Alarm()

    def round(self, files: Iterable[dead.DeadFile]) -> Round:
        """Try each file once. What can't be finished now is left, whatever the reason; nothing is raised for it."""
        result = Round()
        for folder, own in groupby(sorted(files, key=lambda file: file.folder), key=lambda file: file.folder):
            remaining = list(own)
            try:
                with dead.sole_replayer(folder):
                    while remaining:
                        self._try(remaining.pop(0), result)
            except NotFinished as error:
                result.troubles["dead_letters" if isinstance(error, SpoolError) else "another_replayer"] = str(error)
                result.left += remaining
        for trouble, detail in result.troubles.items():
            self._alarm.tell(trouble, detail)
        return result

    def watch(self, folders: Sequence[Path], stop: Stop, *, interval: float) -> None:
        """Replay what Fluent Bit gives up and the relay parks, until `stop` is set. Any outage is waited for.

        What can't be stored yet is tried again at least every 10 s, or as often as a round of all of it can be made.
        Chunks are taken away from Fluent Bit meanwhile, however long a round takes. SettingsError: a folder can't be
        written. What else is raised is a bug, and ends both.
        """
        for folder in folders:
            _prepare(folder)
        together(
            stop,
            collector=lambda: collect_forever(folders, stop),
            replayer=lambda: self._replay_forever(folders, stop, interval),
        )

    def _replay_forever(self, folders: Sequence[Path], stop: Stop, interval: float) -> None:
        failures = 0
        while not stop.is_set():
            began = monotonic()
            files = [file for folder in folders for file in self._waiting(folder)]
            result = self.round(files)
            share = len(result.left) / max(len(files), 1)
            failures = failures + 1 if result.down or result.left else 0
            if result.done or result.refused:
                _log.info("replayed: %d events are stored, %d were refused again", result.done, result.refused)
            rest = rest_after((monotonic() - began) * share, failures, result.retry_after)
            stop.wait(max(interval, rest))

    def _waiting(self, folder: Path) -> list[dead.DeadFile]:
        try:
            return dead.waiting(folder)
        except SpoolError as error:
            self._alarm.tell("dead_letters", str(error))
            return []

    def until_done(self, files: Sequence[dead.DeadFile], stop: Stop, *, patience: float) -> Round:
        """Replay these files, trying again for `patience` seconds.

        NotFinished when some are left then: they are kept, for the next replay.
        """
        total, failures, waited = Round(left=list(files)), 0, 0.0
        while True:
            result = self.round(total.left)
            total.done += result.done
            total.refused += result.refused
            total.left = result.left
            if not total.left:
                return total
            if stop.is_set() or waited >= patience:
                why = "; ".join(f"{kind}: {detail!a}" for kind, detail in result.troubles.items())
                raise NotFinished(f"{len(total.left)} files could not be replayed yet and are kept ({why})")
            wait = delay(failures, result.retry_after)
            failures, waited = failures + 1, waited + wait
            stop.wait(wait)

    def _try(self, file: dead.DeadFile, result: Round) -> None:
        """One file. What it can't be finished for holds up none of those behind it."""
        try:
            if file.kind is dead.Kind.WAITING:
                self._replay_parked(file, result)
                return
            if result.down or not dead.is_whole(file):
                result.left.append(file)
                return
            claimed = dead.claim(file)
            if claimed is not None:
                file = claimed  # left from there, if it is
                self._replay(file, result)
        except FileNotFoundError:
            # By a hand other than a replayer's, which the lock keeps out.
            _log.warning("%s was taken away while it was replayed", file.path)
        except SpoolError as error:
            result.troubles["dead_letters"] = str(error)
            result.left.append(file)

    def _replay(self, file: dead.DeadFile, result: Round) -> None:
        before = dead.written(file)
        tally = self._send_all(dead.read_events(file), result)
        if tally.again or result.down or dead.written(file) != before:
            result.left.append(file)
            return
        _finish(file, tally.refused)
        tally.report(result)

    def _replay_parked(self, file: dead.DeadFile, result: Round) -> None:
        if result.down:
            result.left.append(file)
            return
        data = dead.read_parked(file)
        lines = [line for line in data.split(b"\n") if line.strip()]
        tally = self._send_all(map(to_event, read_letters(lines)), result)
        if result.down:
            result.left.append(file)
            return
        rest = [
            with_reason(line, Reason(verdict.type, verdict.detail))
            for line, verdict in zip(lines, tally.verdicts, strict=True)
            if verdict.outcome is Outcome.AGAIN
        ]
        if rest != lines or not lines:
            _keep(file, tally.refused)
            dead.leave_parked(file, len(data), rest)
        if rest:
            result.left.append(file)
        tally.report(result)

    def _send_all(self, read: Iterator[Event | Refused], result: Round) -> "_Tally":
        tally = _Tally()
        for bulk in _bulks(read):
            verdicts = iter(self._send([one for one in bulk if isinstance(one, Event)], tally.missing, result))
            for one in bulk:
                tally.add(one, next(verdicts) if isinstance(one, Event) else Verdict(Outcome.NEVER, *one.reason))
            if result.down:
                break
        return tally

    def _send(self, events: list[Event], missing: dict[str, Verdict], result: Round) -> list[Verdict]:
        known = dict(missing)
        asked = [event for event in events if event.index_name not in known]
        tried = attempt(self._transport, asked) if asked else Attempt([])
        result.down |= tried.whole
        result.retry_after = tried.retry_after or result.retry_after
        result.troubles |= {v.type: v.detail for v in tried.verdicts if v.outcome is Outcome.AGAIN}
        for event, verdict in zip(asked, tried.verdicts, strict=True):
            if verdict.type == "missing_index":
                missing[event.index_name] = verdict
        verdicts = iter(tried.verdicts)
        return [known.get(event.index_name) or next(verdicts) for event in events]


def rest_after(in_vain: float, failures: int, retry_after: float | None) -> float:
    """Seconds until the next round: what can't be stored may cost half of the time (`in_vain`: the seconds that it took
    of this round), and what was stored is no reason to wait.
    """
    return max(delay(failures, retry_after), in_vain) if failures else 0.0


@dataclass(slots=True)
class _Tally:
    """What became of the events of one file. What is refused is kept only when all of the file is over."""

    done: int = 0
    again: int = 0
    refused: list[Refused] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    #: Months that are not there: asked for once a file, not with each of the events that wait for them.
    missing: dict[str, Verdict] = field(default_factory=dict)

    def add(self, event: Event | Refused, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        if isinstance(event, Refused):
            self.refused.append(event)
        elif verdict.outcome is Outcome.DONE:
            self.done += 1
        elif verdict.outcome is Outcome.AGAIN:
            self.again += 1
        else:
            reason = Reason(verdict.type, verdict.detail)
            self.refused.append(Refused(reason, event.tag, event.time, event.id, event.document))

    def report(self, result: Round) -> None:
        result.done += self.done
        result.refused += len(self.refused)


def _prepare(folder: Path) -> None:
    try:
        dead.make_subfolders(folder)
    except SpoolError as error:
        raise SettingsError(str(error)) from error


def _keep(file: dead.DeadFile, refused: list[Refused]) -> None:
    if refused:
        DeadLetters(file.folder / dead.REFUSED, dead.REFUSED).keep(refused)


def _finish(file: dead.DeadFile, refused: list[Refused]) -> None:
    _keep(file, refused)
    try:
        file.path.unlink()
        sync_directory(file.path.parent)
    except OSError as error:
        raise SpoolError(f"{file.path} is replayed and can't be removed: {error}") from error


def _bulks(events: Iterator[Event | Refused]) -> Iterator[list[Event | Refused]]:
    bulk: list[Event | Refused] = []
    size = 0
    for event in events:
        size += event.size if isinstance(event, Event) else 0
        if bulk and size > BULK:
            yield bulk
            bulk, size = [], event.size if isinstance(event, Event) else 0
        bulk.append(event)
    if bulk:
        yield bulk
