"""Each kind of fault as a context manager: done on the way in, brought to an end on the way out.

What is yielded says by which event the recovery is measured. Nothing is deleted, and nothing is brought back that a
supervisor would not: dead processes are started again, suspended ones go on, connections can be made again.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.local import node, shipper
from auditpipe.schemas.errors import OutOfReach
from auditpipe.schemas.identity import index_of
from tests.chaos.crew import Crew
from tests.chaos.schedule import Step
from tests.chaos.world import World
from tests.proxy import Proxy

_OPERATOR_SECONDS = 120.0


@dataclass(frozen=True)
class Stage:
    """All that a fault can touch. `now` is the time in nanoseconds since 1970."""

    world: World
    crew: Crew
    now: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Sign:
    """Recovered is when an event of this ledger is stored: the first after the end of the fault, or the `last`."""

    ledger: Path
    last: bool = False


Fault = Callable[[Stage, Step], AbstractContextManager[Sign]]


@contextmanager
def _emitter_ended(stage: Stage, step: Step, how: signal.Signals) -> Iterator[Sign]:
    victim = stage.crew.victim(step.pick)
    stage.crew.end(victim, how)
    yield Sign(victim.ledger, last=True)
    stage.crew.succeed(victim)


def _emitter_killed(stage: Stage, step: Step) -> AbstractContextManager[Sign]:
    return _emitter_ended(stage, step, signal.SIGKILL)


def _emitter_terminated(stage: Stage, step: Step) -> AbstractContextManager[Sign]:
    return _emitter_ended(stage, step, signal.SIGTERM)


@contextmanager
def _emitter_suspended(stage: Stage, step: Step) -> Iterator[Sign]:
    victim = stage.crew.victim(step.pick)
    victim.process.send_signal(signal.SIGSTOP)
    try:
        yield Sign(victim.ledger)
    finally:
        victim.process.send_signal(signal.SIGCONT)


def _cut(proxy_of: Callable[[World], Proxy]) -> Fault:
    @contextmanager
    def fault(stage: Stage, step: Step) -> Iterator[Sign]:
        """Half of the times connections end and can be made again at once, else not before the end of the fault."""
        proxy = proxy_of(stage.world)
        if step.pick < 0.5:
            proxy.drop()
            yield Sign(stage.crew.watcher.ledger)
            return
        proxy.cut()
        try:
            yield Sign(stage.crew.watcher.ledger)
        finally:
            proxy.mend()

    return fault


def _stalled(proxy_of: Callable[[World], Proxy]) -> Fault:
    @contextmanager
    def fault(stage: Stage, step: Step) -> Iterator[Sign]:
        """Half of the times what waited is lost with its connection, else it goes on its way."""
        proxy = proxy_of(stage.world)
        proxy.stall()
        try:
            yield Sign(stage.crew.watcher.ledger)
            if step.pick < 0.5:
                proxy.drop()
        finally:
            proxy.flow()

    return fault


def _part(name: str, break_it: Callable[[World, str], None], mend: Callable[[World], object]) -> Fault:
    @contextmanager
    def fault(stage: Stage, step: Step) -> Iterator[Sign]:
        with stage.world.locks[name]:
            break_it(stage.world, name)
            try:
                yield Sign(stage.crew.watcher.ledger)
            finally:
                mend(stage.world)

    return fault


def _kill(world: World, name: str) -> None:
    world.signal(name, signal.SIGKILL)


def _stop(world: World, name: str) -> None:
    world.stop(name)


def _suspend(world: World, name: str) -> None:
    world.signal(name, signal.SIGSTOP)


def _resume(name: str) -> Callable[[World], None]:
    return lambda world: world.signal(name, signal.SIGCONT)


@contextmanager
def _month_blocked(stage: Stage, step: Step) -> Iterator[Sign]:
    index = index_of(stage.now())
    with stage.world.locks[node.NAME]:
        _set_write_block(stage.world, index, True)
        try:
            yield Sign(stage.crew.watcher.ledger)
        finally:
            _set_write_block(stage.world, index, None)


def _set_write_block(world: World, index: str, value: bool | None) -> None:
    """As an operator does, who tries again where a busy node does not answer in time."""
    deadline = time.monotonic() + _OPERATOR_SECONDS
    while True:
        try:
            status, answer = world.admin.ask("PUT", f"/{index}/_settings", {"index.blocks.write": value})
        except OutOfReach as error:
            status, answer = 0, error
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the write block of {index} can't be set to {value}: {status} {answer}")
        time.sleep(1.0)


FAULTS: dict[str, Fault] = {
    "emitter killed": _emitter_killed,
    "emitter terminated": _emitter_terminated,
    "emitter suspended": _emitter_suspended,
    "forward cut": _cut(lambda world: world.forward),
    "forward stalled": _stalled(lambda world: world.forward),
    "OpenSearch cut": _cut(lambda world: world.opensearch),
    "OpenSearch stalled": _stalled(lambda world: world.opensearch),
    "shipper killed": _part(shipper.NAME, _kill, World.start_shipper),
    "shipper stopped": _part(shipper.NAME, _stop, World.start_shipper),
    "shipper suspended": _part(shipper.NAME, _suspend, _resume(shipper.NAME)),
    "replayer killed": _part(shipper.REPLAYER, _kill, World.start_replayer),
    "node killed": _part(node.NAME, _kill, World.start_node),
    "node suspended": _part(node.NAME, _suspend, _resume(node.NAME)),
    "month blocked": _month_blocked,
}
