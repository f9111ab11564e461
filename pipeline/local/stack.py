"""The whole local stack: up, down, and what runs.

`up` is idempotent: what runs is left alone, what has died is started again, what is missing is made. One at a time on a
home, held by a lock on a file in it.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from auditpipe.pipeline.local import cluster, console, node, process, profiles, shipper
from auditpipe.pipeline.local.console import Console
from auditpipe.pipeline.local.files import locked
from auditpipe.pipeline.local.home import Home, node_folder_outside
from auditpipe.pipeline.local.node import NodeOptions
from auditpipe.pipeline.local.preflight import check_path
from auditpipe.pipeline.local.shipper import ShipperOptions
from auditpipe.pipeline.local.watch import Watch
from auditpipe.schemas import ports
from auditpipe.schemas.errors import NotFinished, SettingsError, UsageError
from auditpipe.schemas.settings import Settings

_SETTLED_S = 1.0
#: In the order in which they are stopped: nothing sends into a node that is gone.
NAMES = (console.NAME, shipper.NAME, shipper.REPLAYER, node.NAME)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` was told. None: as it runs already, else the default. `console`: whether to start one."""

    port: int | None = None
    forward_port: int | None = None
    metrics_port: int | None = None
    heap: str = "1g"
    shipper: str = "auto"
    console: bool = False
    console_port: int | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """What `up` leaves behind."""

    url: str
    user: str
    password_file: Path
    forward: str
    shipper: str
    started: tuple[str, ...]
    #: None where none was asked for and none runs.
    console: Console | None = None


class State(StrEnum):
    """`died`: it was started and is gone. `suspended`: it is there and does nothing. `damaged`: nobody can tell."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DIED = "died"
    STOPPED = "stopped"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack. `record` is None where it was never started, or stopped by `down`.

    `problem` says what is wrong with one that is suspended or damaged, `remedy` what to do.
    """

    name: str
    record: process.Record | None
    state: State
    problem: str = ""
    remedy: str = "`auditpipe up` starts it"

    @property
    def running(self) -> bool:
        """Whether it does its work."""
        return self.state is State.RUNNING

    @property
    def missing(self) -> bool:
        """Whether it should do its work and does not: a console that nobody has started need not."""
        return not self.running and not (self.name == console.NAME and self.state is State.STOPPED)


def up(settings: Settings, options: UpOptions, watch: Watch | None = None) -> Stack:
    """Start whatever of the stack does not run; return when it takes events and answers searches."""
    watch = watch or Watch()
    home = Home(settings.home.absolute())
    program = shipper.choose(options.shipper, settings)
    check_path(home.root)
    with _usable(home):
        home.make()
    with _usable(home), _alone(home):
        _refuse_suspended(home)
        for log in home.logs.iterdir():
            process.put_aside(log)
        beside = shipper_options(home, options)
        if _running(home, shipper.NAME) is None:
            shipper.check_ports(beside)  # before the node, whose start takes a while
        console_port = _console_port(home, options)
        node_options = NodeOptions(options.port or _last_port(home, node.NAME) or NodeOptions().port, options.heap)
        made = cluster.ensure(home, node_options, port_given=options.port is not None, watch=watch)
        forward = f"127.0.0.1:{beside.port}"
        cluster.write_profiles(home, made, forward)
        before = {part.name for part in parts(home) if part.running}
        # Before what may fail on a node that recovers: both can wait for it, and someone sends to them already.
        ship = _start_beside(home, made, beside, program, watch)
        cluster.wait_for_shards(home, made, watch)
        watch.say("Provisioning: index template, months, roles, users")
        cluster.provision(home, made, forward, watch)
        page = None if console_port is None else _console_at(home, console_port, settings.spool_dir, watch)
        after = {part.name for part in parts(home) if part.running}
    started = ({node.NAME} if made.fresh else set()) | (after - before)
    secret = home.secrets / profiles.SUPER_ADMIN
    return Stack(made.url, profiles.SUPER_ADMIN, secret, ship.address, ship.program, tuple(sorted(started)), page)


def _start_beside(
    home: Home, made: cluster.Cluster, options: ShipperOptions, program: str | None, watch: Watch
) -> process.Record:
    """The replayer and the shipper, where they do not run. Returns the shipper's record."""
    if made.certificates.renewed:  # they may have read an authority that is no more
        _stop(home, (console.NAME, shipper.NAME, shipper.REPLAYER), watch)
    replayer, ship = _running(home, shipper.REPLAYER), _running(home, shipper.NAME)
    if replayer is None:
        watch.say("Starting the dead-letter replayer")
        replayer = shipper.start_replayer(home)
    if ship is None:
        watch.say(f"Starting the shipper ({'Fluent Bit' if program else 'relay'}) at 127.0.0.1:{options.port}")
        ship = shipper.start(home, made.url, made.certificates.ca, options, program)
    # The replayer has no port that could answer: if it can't start it has ended by now.
    time.sleep(max(0.0, replayer.started + _SETTLED_S - time.time()))
    for record in (ship, replayer):
        shipper.check_alive(record)
    return ship


def _console_port(home: Home, options: UpOptions) -> int | None:
    """Where a console is to be, None for nowhere. NotFinished: a port that was asked for is someone else's."""
    record = _running(home, console.NAME)
    if record is not None and options.console_port not in (None, record.port):
        raise UsageError(f"the console of this home runs at {record.address}: `auditpipe down` first")
    if record is not None:
        return record.port
    if not options.console:
        return None
    if options.console_port is not None:
        console.check(options.console_port)
    return options.console_port or _last_port(home, console.NAME) or ports.CONSOLE


def _console_at(home: Home, port: int, spool: Path, watch: Watch) -> Console:
    """The console, started where it does not run; the stack goes on without one that does not start."""
    try:
        record = _running(home, console.NAME)
        if record is None:
            watch.say(f"Starting the console at http://127.0.0.1:{port}/")
            record = console.start(home, port, spool)
        return console.wait(record)
    except NotFinished as error:
        return Console(problem=str(error))


def shipper_options(home: Home, options: UpOptions) -> ShipperOptions:
    """What was asked for, else as it ran last. UsageError if it runs and something else was asked for."""
    defaults, record = ShipperOptions(), _running(home, shipper.NAME)
    port = options.forward_port or _last_port(home, shipper.NAME) or defaults.port
    if record is not None and record.address != f"127.0.0.1:{port}":
        raise UsageError(f"the shipper of this home runs at {record.address}: `auditpipe down` first")
    if record is not None and options.shipper not in ("auto", record.program):
        raise UsageError(f"the shipper of this home is {record.program}: `auditpipe down` first")
    last = process.read(home.run, shipper.NAME)
    metrics = options.metrics_port or (last.metrics_port if last else None) or defaults.metrics_port
    return ShipperOptions(port, metrics, options.shipper)


def _last_port(home: Home, name: str) -> int | None:
    """Where a part listens, or listened before it died. `down` forgets that."""
    record = process.read(home.run, name)
    return record.port if record else None


def down(home: Home, watch: Watch | None = None) -> tuple[str, ...]:
    """Stop what runs: the shipper, the replayer, then the node. Keeps all data. Returns what was stopped."""
    return stop(home, NAMES, watch)


def stop(home: Home, names: Sequence[str], watch: Watch | None = None) -> tuple[str, ...]:
    """Stop these parts, in this order. Returns those that ran."""
    if not home.run.exists():
        return ()
    with _usable(home), _alone(home):
        return _stop(home, names, watch or Watch())


def _stop(home: Home, names: Sequence[str], watch: Watch) -> tuple[str, ...]:
    stopped = []
    for name in names:
        record = _running(home, name)
        if record is not None:
            watch.say(f"Stopping {name} (process {record.pid})")
            process.stop(record)
            stopped.append(name)
        process.forget(home.run, name)
    return tuple(stopped)


def purge(home: Home) -> None:
    """Remove everything that the stack has made, data, certificates and passwords too. Stop it first.

    What else is in the home stays, and so does the cache.
    """
    gone = (State.DIED, State.STOPPED)
    there = [part.problem or f"{part.name} still runs" for part in parts(home) if part.state not in gone]
    if there:
        raise NotFinished(f"{'; '.join(there)}: nothing was removed")
    with _usable(home):
        _remove(home)


def _remove(home: Home) -> None:
    outside = node_folder_outside(home.root)
    if home.opensearch.is_symlink():
        if outside.exists() and home.opensearch.resolve() == outside.resolve():
            shutil.rmtree(outside)
        home.opensearch.unlink()
    for folder in home.folders:
        if folder.exists():
            shutil.rmtree(folder)
    if home.root.exists() and not any(home.root.iterdir()):
        home.root.rmdir()


def parts(home: Home) -> tuple[Part, ...]:
    """Each process of the stack, node first."""
    return tuple(_part(home, name) for name in reversed(NAMES))


def _part(home: Home, name: str) -> Part:
    try:
        record = process.read(home.run, name)
    except NotFinished as error:
        return Part(name, None, State.DAMAGED, str(error), "then `auditpipe up`")
    if record is None:
        return Part(name, None, State.STOPPED)
    if record.process() is None:
        return Part(name, record, State.DIED)
    if record.is_suspended():
        remedy = f"`kill -CONT {record.pid}` lets it go on, `auditpipe down` ends it"
        return Part(name, record, State.SUSPENDED, f"process {record.pid} is suspended", remedy)
    return Part(name, record, State.RUNNING)


def _refuse_suspended(home: Home) -> None:
    """Whoever suspended it may have had a reason; and a node that does nothing would be waited for in vain."""
    for part in parts(home):
        if part.state is State.SUSPENDED:
            raise NotFinished(f"{part.name}: {part.problem}: {part.remedy}")


def _running(home: Home, name: str) -> process.Record | None:
    record = process.read(home.run, name)
    return record if record is not None and record.process() is not None else None


@contextmanager
def _usable(home: Home) -> Iterator[None]:
    """A folder that is closed, missing or on a full or read-only disk is the person's to put right, and no bug."""
    try:
        yield
    except OSError as error:
        raise SettingsError(f"the home {home.root} can't be used: {error}") from error


def _alone(home: Home) -> AbstractContextManager[None]:
    def busy() -> None:
        raise NotFinished(f"another `auditpipe up` or `down` works on {home.root}: wait for it")

    return locked(home.run / "lock", busy)
