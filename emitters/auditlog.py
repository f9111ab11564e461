"""`AuditLog`: validate, link, append to the spool, return."""

import atexit
import dataclasses
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from auditpipe.emitters import context as contexts
from auditpipe.emitters.arguments import ARGUMENTS, EmitArguments
from auditpipe.emitters.build import Builder, Document
from auditpipe.emitters.concealment import concealment_key
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.pseudonyms import Pseudonyms
from auditpipe.emitters.redaction import Redactor
from auditpipe.emitters.sealing import NO_PARTS, Parts, Stream, check_unlinked, checked_whole, refuse_first, seal
from auditpipe.emitters.spool.writer import Fsync
from auditpipe.emitters.spooled import SpoolTransport
from auditpipe.emitters.transport import Stats, Transport
from auditpipe.emitters.turn import Turn
from auditpipe.schemas import identity, privacy, rules, settings
from auditpipe.schemas.canonical import document_hash
from auditpipe.schemas.catalogue import STREAM_CLOSED, Action, Catalogue, builtin
from auditpipe.schemas.errors import AuditpipeError, InvalidEvent, SpoolError, UsageError
from auditpipe.schemas.event import Event
from auditpipe.schemas.pseudonyms import read_keys

log = logging.getLogger(__name__)

FailurePolicy = Literal["raise", "continue"]
_POLICIES = ("raise", "continue")
_LOG_INTERVAL = 60.0
#: What a builder puts into each of its documents: it is checked with the first event, and not again with every other.
_CONSTANT = ("ecs", "service", "host")


class AuditLog:
    """Emits audit events of one service.

    When `emit` has returned an event, it survives SIGKILL of the application as long as the spool's folder survives;
    it never waits for the network. Safe for threads, asyncio and fork: a child process has streams of its own. Safe for
    signal handlers: what one asks for in the middle of a call of the same thread is done when that ends.

    `service`, `version`, `environment`: the application. `organization`: the tenant, id or `{"id", "name"}`, unless
    a call or a context names another. `catalogue`: `auditpipe.schemas.catalogue.builtin()` unless given; `actions`:
    further ones, `Action`s or a file. `redact`: field names or dotted paths that are secret, beside the usual ones.
    `on_failure`: `raise` or `continue`, or a mapping of action pattern to one of them, of which the first that fits
    counts (`{"user.*.exported": "raise", "*": "continue"}`). `forward`: host:port; `forward_ca_file`: speak TLS to it,
    checked against these authorities; `forward_shared_key_file`: prove a shared key to it. `spool_dir`: a folder.
    `pseudonym_key_file`: replace personal values by keyed hashes, with its keys. These come from the environment
    (AUDITPIPE_FORWARD and so on) unless given. `pseudonymize`: which, instead of the usual ones (`schemas/privacy.py`):
    fields such as `user.email`, and `changes.NAME` and `details.NAME`. `fsync`: when an event is on the disk, `off`,
    `interval` (within a second) or `always`; `spool`: that, limits and times (`SpoolOptions`). `transport`: where
    events go instead of a spool, such as a `MemoryTransport`. `host`: `host.name`, this machine's unless given.
    `exit_timeout`: how many seconds `close` goes on sending.

    UsageError, or a kind of it (SettingsError, CatalogueError, InvalidEvent), says which of them can't be.
    """

    def __init__(
        self,
        service: str,
        *,
        organization: Any = None,
        version: str | None = None,
        environment: str | None = None,
        catalogue: Catalogue | None = None,
        actions: Iterable[Action] | str | Path = (),
        redact: Iterable[str] = (),
        on_failure: FailurePolicy | Mapping[str, FailurePolicy] = "raise",
        forward: str | None = None,
        forward_ca_file: str | None = None,
        forward_shared_key_file: str | None = None,
        pseudonym_key_file: str | None = None,
        pseudonymize: Iterable[str] | None = None,
        spool_dir: str | Path | None = None,
        fsync: Fsync | None = None,
        spool: SpoolOptions | None = None,
        transport: Transport | None = None,
        host: str | None = None,
        exit_timeout: float = 3.0,
    ) -> None:
        folder = str(spool_dir) if spool_dir else None
        given = {"forward": forward, "forward_ca_file": forward_ca_file, "spool_dir": folder}
        given |= {"forward_shared_key_file": forward_shared_key_file, "pseudonym_key_file": pseudonym_key_file}
        resolved = settings.load(given, default_profile="none")
        catalogue = builtin() if catalogue is None else catalogue
        self.catalogue = catalogue.extended(actions) if actions else catalogue
        self._policies = _policies(on_failure)
        self._key_file = resolved.spool_dir / "names.key"
        self._key: bytes | None = None
        self.builder = Builder(
            service={"name": service, "version": version, "environment": environment},  # type: ignore[dict-item]
            catalogue=self.catalogue,
            redactor=Redactor(redact),
            concealment_key=self._concealment_key,
            organization=organization,
            host=socket.gethostname()[:1024] if host is None else host,
            pseudonyms=_pseudonyms(resolved.get("pseudonym_key_file"), pseudonymize),
        )
        self._transport = transport or SpoolTransport(
            resolved.spool_dir,
            *resolved.forward,
            options=_options(spool, fsync),
            ca_file=resolved.get("forward_ca_file"),
            shared_key=settings.read_secret(resolved.get("forward_shared_key_file"), "forward_shared_key_file"),
        )
        self._exit_timeout = exit_timeout
        self._constant: Parts = {}
        self._refused = 0
        self._last_log = float("-inf")
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self._turn = Turn()
        self._lock = threading.Lock()
        self._streams: dict[str | None, Stream] = {}
        self._closed = self._closes = False
        self._pid = os.getpid()

    def emit(self, action: str, **arguments: Unpack[EmitArguments]) -> Event | None:
        """Emit one event; returns it once it is in the spool. `EmitArguments` says what each argument may be.

        InvalidEvent names the field that is wrong, UnknownAction the nearest actions, SpoolError says what the disk
        refused; with `on_failure` `continue` they are counted and logged and None is returned.

        From a signal handler that has broken into a call of the same thread it returns None: the event is checked, and
        appended when that call ends.
        """
        try:
            return self._emit(action, arguments)
        except AuditpipeError as error:
            self.refuse(action, error)
        except Exception as error:  # noqa: BLE001  # what a caller's own __str__, __eq__ or __iter__ raises, and no less
            # The type alone: its text may quote a value that is secret.
            problem = f"can't be made from what was given: {type(error).__name__}"
            self.refuse(action, InvalidEvent("event", problem), error)
        return None

    def refuse(self, action: str, error: AuditpipeError, cause: Exception | None = None) -> None:
        """Do with an event that can't be taken what the failure policy says: raise, or count and log."""
        self._refused += 1
        if self._policy(action) == "raise":
            raise error from cause
        self._log_refusal(action, error)

    def _emit(self, action: str, arguments: Mapping[str, Any]) -> Event | None:
        if os.getpid() != self._pid:
            self._after_fork()
        if not arguments.keys() <= ARGUMENTS:
            unknown = arguments.keys() - ARGUMENTS
            raise InvalidEvent(sorted(unknown)[0], f"no argument of emit; known: {', '.join(sorted(ARGUMENTS))}")
        around = contexts.current()
        if around:
            arguments = {**around, **arguments}
        document, moment = self.builder.document(action, **arguments)
        if self._turn.is_taken:
            self._put_off(document, moment)
            return None
        event = self._turn.run(self._append, document, moment, self._constant)
        if not self._constant:
            self._constant = {part: getattr(event, part) for part in _CONSTANT if part in document}
        return event

    def _append(
        self, document: Document, moment: int, checked: Parts = NO_PARTS, stream: Stream | None = None
    ) -> Event:
        with self._lock:
            if self._closed:
                raise SpoolError("this AuditLog is closed")
            event, ticket = self._seal_and_append(document, moment, stream, checked)
        self._transport.settle(ticket)
        return event

    def _put_off(self, document: Document, moment: int) -> None:
        """Append it when this thread's turn is over; what can be said against it is said now."""
        if self._closed or self._closes:
            raise SpoolError("this AuditLog is closed")
        check_unlinked(document)
        self._turn.put_off(partial(self._append_late, document, moment))

    def _append_late(self, document: Document, moment: int) -> None:
        try:
            self._append(document, moment)
        except AuditpipeError as error:
            self._refused += 1
            raise SpoolError(f"audit event {document['event']['action']}: {error}") from error

    def append_sealed(self, document: Document) -> Event:
        """Append an event that is sealed already, as it is. InvalidEvent names what `emit` would not have made."""
        self._begin_turn()
        event = self.check_sealed(document)
        self._turn.run(self._append_sealed, event, document)
        return event

    def _append_sealed(self, event: Event, document: Document) -> None:
        with self._lock:
            ticket = self._transport.append(event, document, identity.parse_time(document["@timestamp"]))
        self._transport.settle(ticket)

    def check_sealed(self, document: Document) -> Event:
        """The event of a sealed document, all of it checked: values, form, hash, catalogue, secrets.

        InvalidEvent names the field. What the catalogue says counts where it has the action.
        """
        refuse_first(rules.value_problems(document))
        event = checked_whole(document)
        if event.hash != document_hash(document):
            raise InvalidEvent("audit.hash", "is not the hash of this document: it was altered after it was sealed")
        found = rules.content_problems(document, self.catalogue, self.builder.redactor)
        refuse_first(p for p in found if p.path != "event.action")
        return event

    def append_built(self, document: Document, moment: int, stream: Stream | None = None) -> Event:
        """Seal a built document into a stream, this process's own unless given, and append it. Errors as `emit`."""
        self._begin_turn()
        return self._turn.run(self._append, document, moment, stream=stream)

    def _begin_turn(self) -> None:
        """What comes before a call that must be done now."""
        self._check_process()
        if self._turn.is_taken:
            raise SpoolError("not from a signal handler in the middle of another call of this AuditLog: use emit there")

    def _seal_and_append(
        self, document: Document, moment: int, stream: Stream | None = None, checked: Parts = NO_PARTS
    ) -> tuple[Event, int]:
        if stream is None:
            tenant = document["organization"]["id"] if "organization" in document else None
            stream = self._streams.get(tenant)
            if stream is None:
                stream = self._streams[tenant] = Stream(identity.new_event_id(time.time_ns()))
        audit = document["audit"]
        audit["stream"], audit["sequence"], audit["previous"] = stream.id, stream.sequence + 1, stream.previous
        event = seal(document, checked)
        try:
            ticket = self._transport.append(event, document, moment)
            # Only now is the number spent: what could not be appended leaves no gap.
            stream.sequence, stream.previous = audit["sequence"], audit["hash"]
        except AuditpipeError:
            raise
        except BaseException:
            # What a signal's handler raises, Ctrl-C for one: the event may be there or not. A number that was given
            # twice would look like forgery, and so the stream ends here, and the next event begins another.
            self._streams = {tenant: kept for tenant, kept in self._streams.items() if kept is not stream}
            raise
        return event, ticket

    def context(self, **values: Any) -> AbstractContextManager[None]:
        """Actor, organization, session, request, trace, ip and user_agent for every `emit` in a `with` block."""
        return contexts.context(**values)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until what was emitted before is acknowledged by the shipper; False after `timeout` seconds.

        False at once from a signal handler in the middle of another call: to wait there would hold that up.
        """
        self._check_process()
        return not self._turn.is_taken and self._turn.run(self._transport.flush, timeout)

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until what dead processes left in the spool is acknowledged too; False as `flush`."""
        self._check_process()
        return not self._turn.is_taken and self._turn.run(self._transport.drain, timeout)

    def stats(self) -> Stats:
        """Where the events are. Takes no lock."""
        self._check_process()
        return dataclasses.replace(self._transport.stats(), refused=self._refused)

    def close(self, timeout: float | None = None) -> None:
        """Close each stream with an event, send for at most `timeout` seconds, stop. Twice is fine.

        From a signal handler in the middle of another call of the same thread: when that ends.
        """
        self._check_process()
        if self._turn.is_taken:
            self._closes = True
            self._turn.put_off(partial(self._close, timeout))
            return
        self._turn.catch_up()  # should Ctrl-C have broken that off
        self._turn.run(self._close, timeout)

    def _close(self, timeout: float | None) -> None:
        with self._lock:
            if self._closed:
                return
            for tenant, stream in list(self._streams.items()):
                if stream.sequence:  # one whose first event was refused has never begun
                    self._close_stream(tenant)
            self._closed = True
        self._transport.close(self._exit_timeout if timeout is None else timeout)
        _living.discard(self)

    def _close_stream(self, tenant: str | None) -> None:
        service = self.builder.service["name"]
        try:
            document, moment = self.builder.document(
                STREAM_CLOSED, actor={"name": service, "type": "service"}, organization=tenant
            )
            if tenant is None:
                document.pop("organization", None)
            self._seal_and_append(document, moment)
        except AuditpipeError as error:
            problem = "the audit stream of %s can't be closed, and verify will call it abandoned: %s"
            log.error(problem, service, error, exc_info=log.isEnabledFor(logging.DEBUG))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_process(self) -> None:
        """Begin anew in a child of something that runs no at-fork hooks (a library in C): nothing there is ours."""
        if os.getpid() != self._pid:
            self._after_fork()

    def _after_fork(self) -> None:
        identity.forget_random()
        self._transport.after_fork()
        self._begin()

    def _concealment_key(self) -> bytes:
        if self._key is None:
            self._key = concealment_key(self._key_file)
        return self._key

    def _policy(self, action: object) -> FailurePolicy:
        return next(
            (policy for pattern, policy in self._policies.items() if fnmatchcase(str(action), pattern)), "raise"
        )

    def _log_refusal(self, action: str, error: AuditpipeError) -> None:
        now = time.monotonic()
        if now - self._last_log >= _LOG_INTERVAL:
            self._last_log = now
            log.error("audit event %s was not taken, %d so far: %s", action, self._refused, error)


def _options(spool: SpoolOptions | None, fsync: Fsync | None) -> SpoolOptions:
    options = spool or SpoolOptions()
    return options if fsync is None else dataclasses.replace(options, fsync=fsync)


def _pseudonyms(key_file: str | None, chosen: Iterable[str] | None) -> Pseudonyms | None:
    if key_file:
        return Pseudonyms(read_keys(key_file), privacy.Chosen(privacy.DEFAULT if chosen is None else chosen))
    if chosen is not None:
        raise UsageError("pseudonymize: no keys to do it with: give pseudonym_key_file or AUDITPIPE_PSEUDONYM_KEY_FILE")
    return None


def _policies(given: FailurePolicy | Mapping[str, FailurePolicy]) -> Mapping[str, FailurePolicy]:
    if not isinstance(given, (str, Mapping)):
        raise UsageError(f"on_failure: expected raise, continue, or a mapping of action pattern to it, got {given!r}")
    policies = {"*": given} if isinstance(given, str) else dict(given)
    for pattern, policy in policies.items():
        if policy not in _POLICIES:
            raise UsageError(f"on_failure: expected raise or continue for {pattern}, got {policy!r}")
    unused = [*policies][[*policies].index("*") + 1 :] if "*" in policies else []
    if unused:
        raise UsageError(f"on_failure: {unused[0]} comes after *, which fits everything: put * last")
    return policies


_living: "weakref.WeakSet[AuditLog]" = weakref.WeakSet()


def _close_all() -> None:
    for audit in list(_living):
        try:
            audit.close()
        except Exception as error:  # the others are to be closed all the same
            is_bug = not isinstance(error, AuditpipeError)
            log.error("the AuditLog of %s can't be closed: %s", audit.builder.service["name"], error, exc_info=is_bug)


def _after_fork_in_child() -> None:
    for audit in list(_living):
        audit._after_fork()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
