"""A campaign from its start to its report: parts, emitters, lanes of faults, rest, check."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from opensearchpy.helpers import scan

from auditpipe.schemas.identity import INDEX_PATTERN
from tests.chaos import ledger, schedule
from tests.chaos.check import Stored, check, stored_of
from tests.chaos.crew import Crew
from tests.chaos.faults import FAULTS, Stage
from tests.chaos.recovery import Recoveries
from tests.chaos.report import Report
from tests.chaos.schedule import Step
from tests.chaos.settle import settle
from tests.chaos.world import World
from tests.stored import run as run_command

Say = Callable[[str], None]
#: A lane ends its fault before it ends: a node that was just killed is waited for.
LANE_SECONDS = 600.0
_TEND_SECONDS = 0.5
#: One fault at a time: so long is a recovery waited for before the next.
APART_SECONDS = 120.0


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    seed: int
    minutes: float
    shipper: str
    apart: bool = False


@dataclass
class Faults:
    """The lanes at work. `problems`: what ended a lane, or a part by itself."""

    stage: Stage
    recoveries: Recoveries
    say: Say
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, lanes: dict[str, Iterator[Step]], seconds: float, apart: bool) -> None:
        """Until the time is over, or a lane has failed. Each lane ends its last fault."""
        threads = [threading.Thread(target=self._lane, args=(steps, apart), name=name) for name, steps in lanes.items()]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and not self.stop.wait(_TEND_SECONDS):
                self.tell(*self.stage.world.tend(), *self.stage.crew.tend())
        except BaseException:
            self.stage.world.give_up()
            raise
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(LANE_SECONDS)
                if thread.is_alive():
                    self.tell(f"the lane {thread.name} does not end its fault")

    def tell(self, *problems: str) -> None:
        """Say what may not be, and keep it for the report."""
        for problem in problems:
            self.say(f"PROBLEM: {problem}")
            self.problems.append(problem)

    def _lane(self, steps: Iterator[Step], apart: bool) -> None:
        try:
            for step in steps:
                if self.stop.wait(step.pause):
                    return
                self._do(step, apart)
        except Exception as error:  # noqa: BLE001  # whatever it is: the campaign ends, and says it
            self.tell(f"{type(error).__name__} in a fault: {error}")
            self.stop.set()

    def _do(self, step: Step, apart: bool) -> None:
        began = time.monotonic()
        with FAULTS[step.kind](self.stage, step) as sign:
            self.stop.wait(step.hold)
        self.counts[step.kind] += 1
        self.say(f"{step.kind}: held {step.hold:.1f} s, over after {time.monotonic() - began:.1f} s")
        awaited = self.recoveries.await_sign(step.kind, sign)
        until = time.monotonic() + APART_SECONDS
        while apart and self.recoveries.is_open(awaited) and not self.stop.wait(0.05):
            if time.monotonic() > until:
                raise TimeoutError(f"no recovery from {step.kind} within {APART_SECONDS:.0f} s")


def run(options: Options, folder: Path, say: Say) -> Report:
    """One campaign in this folder, which it leaves without a running process.

    The folder stays: `World.remove` is for whoever has looked at the report.
    """
    world = World(folder, options.shipper)
    crew = Crew(folder, world.forward_address)
    try:
        return _run(options, world, crew, say)
    finally:
        crew.kill()
        world.down()


def _run(options: Options, world: World, crew: Crew, say: Say) -> Report:
    say(f"starting OpenSearch, {world.kind} and the replayer")
    world.start()
    crew.start()
    recoveries = Recoveries(world.writer())
    recoveries.start()
    faults = Faults(Stage(world, crew, time.time_ns), recoveries, say)
    lanes = {"apart": schedule.apart(options.seed)} if options.apart else _lanes(options.seed)
    faults.run(lanes, options.minutes * 60, options.apart)
    say("the last fault is over; waiting until nothing waits")
    faults.tell(*crew.finish())
    settled, stuck = settle(world, crew)
    recoveries.stop()
    say(f"waited for {settled:.1f} s; checking")
    book = ledger.read(crew.ledgers)
    result = check(book, read_stored(world))
    verify, problems = _verify(world)
    return Report(
        **{"seed": options.seed, "minutes": options.minutes, "shipper": world.kind, "apart": options.apart},
        **{"faults": faults.counts, "emitters": crew.started, "refused": len(book.refused), "result": result},
        **{"recoveries": recoveries.done, "settled_seconds": settled, "verify": verify},
        problems=faults.problems + stuck + problems,
    )


def _lanes(seed: int) -> dict[str, Iterator[Step]]:
    return {lane: schedule.steps(seed, lane) for lane in schedule.LANES}


def read_stored(world: World) -> Iterator[Stored]:
    """All events of the node, by the admin certificate."""
    for hit in scan(world.operator(), index=INDEX_PATTERN, size=1000):
        yield stored_of(hit)


def _verify(world: World) -> tuple[str, list[str]]:
    """What `auditpipe verify` says, as the command; a problem unless it finds nothing."""
    # A long campaign has many events, and a busy machine takes its time.
    done = run_command("verify", "--grace", "0", env={"AUDITPIPE_HOME": str(world.home.root)}, seconds=1_800)
    said = done.err.strip().splitlines()[-1] if done.err.strip() else "(nothing)"
    return said, [] if done.code == 0 else [f"auditpipe verify: {done}"]
