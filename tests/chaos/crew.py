"""The emitters of a campaign: processes that come and go."""

import itertools
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.emitter import ROOMS
from tests.chaos.ledger import SUFFIX
from tests.stored import environment

ROOT = Path(__file__).resolve().parents[2]
#: Emits steadily and is spared: its next event tells when the way to the index is free again.
WATCHER_PAUSE = 0.1
END_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class Emitter:
    """A running emitter and its ledger."""

    room: str
    ledger: Path
    process: subprocess.Popen[bytes]


class Crew:
    """One emitter for each kind of room, and the watcher. Whoever ends gets a successor of the same kind."""

    def __init__(self, folder: Path, forward: str) -> None:
        self.ledgers = folder / "ledgers"
        self.spool = folder / "spool"
        self._log = folder / "emitters.log"
        self._forward = forward
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.started = 0
        self.ledgers.mkdir()

    def start(self) -> None:
        """Start them all."""
        self.watcher = self._spawn("plain", "--seconds", str(WATCHER_PAUSE))
        self._emitters = [self._spawn(room) for room in ROOMS]

    def victim(self, pick: float) -> Emitter:
        """The emitter that a fault is for."""
        with self._lock:
            return self._emitters[int(pick * len(self._emitters))]

    def end(self, emitter: Emitter, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait until it has."""
        emitter.process.send_signal(number)
        emitter.process.wait(END_SECONDS)

    def succeed(self, emitter: Emitter) -> None:
        """Start another in the place of one that has ended."""
        with self._lock:
            if emitter in self._emitters:
                self._emitters[self._emitters.index(emitter)] = self._spawn(emitter.room)

    def tend(self) -> list[str]:
        """Start successors of those that have ended by themselves; which of them did so with an error."""
        with self._lock:
            ended = [one for one in (*self._emitters, self.watcher) if one.process.poll() is not None]
        bad = []
        for one in ended:
            # One that a fault ends just now is gone by a signal, or with 0.
            if one.process.returncode > 0 or one is self.watcher:
                bad.append(f"emitter {one.ledger.stem} ended with {one.process.returncode}: see {self._log}")
            if one is self.watcher:
                self.watcher = self._spawn("plain", "--seconds", str(WATCHER_PAUSE))
            elif one.process.returncode >= 0:
                self.succeed(one)
        return bad

    def finish(self) -> list[str]:
        """End them all by SIGTERM; which of them did not end, or ended with an error."""
        everyone = [*self._emitters, self.watcher]
        for one in everyone:
            one.process.send_signal(signal.SIGTERM)
        bad = []
        for one in everyone:
            try:
                code = one.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                bad.append(f"emitter {one.ledger.stem} does not end on SIGTERM within {END_SECONDS:.0f} s")
                continue
            if code > 0:
                bad.append(f"emitter {one.ledger.stem} ended with {code}: see {self._log}")
        return bad

    def drain(self, seconds: float) -> subprocess.Popen[bytes]:
        """The application as it is started again after the last fault, which sends what the others left."""
        return self._spawn("plain", "--drain", str(seconds)).process

    def kill(self) -> None:
        """End whatever is left."""
        for one in (*getattr(self, "_emitters", ()), *filter(None, (getattr(self, "watcher", None),))):
            one.process.kill()
            one.process.wait()

    def _spawn(self, room: str, *more: str) -> Emitter:
        name = f"e{next(self._numbers):04d}"
        ledger = self.ledgers / f"{name}{SUFFIX}"
        ledger.touch()
        command = [sys.executable, "-m", "tests.chaos.emitter", "--ledger", str(ledger), "--spool", str(self.spool)]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--forward", self._forward, "--room", room, *more],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the campaign, which ends them in its own order
            )
        self.started += 1
        return Emitter(room, ledger, process)
