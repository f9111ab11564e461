"""One application under load: `python -m tests.chaos.emitter`. Emits in bursts until it is ended, and keeps a ledger.

It ends as applications do: killed, or on SIGTERM by `SystemExit` wherever it is, so that the interpreter's exit closes
the log. Exit 0 in all cases but a bug.
"""

import argparse
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from auditpipe.emitters import AuditLog
from auditpipe.emitters.options import SpoolOptions
from auditpipe.schemas.errors import SpoolError
from tests.chaos.ledger import Kept, Writer

#: Events of a `limited` emitter, whose ledger has to stay below the limit of its files too.
SHORT_LIFE = 1_000
FILE_LIMIT = 256 * 1024

#: `cramped` is full after a second without a shipper, `limited` meets a disk that takes a part of a write and no more.
ROOMS: dict[str, SpoolOptions] = {
    "plain": SpoolOptions(),
    "synced": SpoolOptions(fsync="always"),
    "cramped": SpoolOptions(fsync="off", limit_bytes=48 * 1024),
    "limited": SpoolOptions(),
}


def main() -> None:
    """Emit until ended, or with `--drain` send what others left and say how it went."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)
    if options.room == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    audit = AuditLog(
        "chaos", organization="first", spool_dir=options.spool, forward=options.forward, spool=ROOMS[options.room]
    )
    emitter = Emitter(audit, Writer(options.ledger), options.ledger.stem)
    if options.drain:
        sys.exit(0 if emitter.drain(options.drain) else 3)
    emitter.run(options.seconds, os.getppid(), SHORT_LIFE if options.room == "limited" else sys.maxsize)


class Emitter:
    """Calls `emit` and notes before and after."""

    def __init__(self, audit: AuditLog, ledger: Writer, name: str) -> None:
        self._audit = audit
        self._ledger = ledger
        self._name = name
        self._rng = random.Random(name)
        self._count = 0

    def run(self, pause: float, parent: int, most: int) -> None:
        """Bursts with pauses of `pause` seconds on average, until `most` events or the end of the parent."""
        while self._count < most and os.getppid() == parent:
            for _ in range(self._rng.randint(1, 40) if pause > 0.2 else 1):
                self.emit()
            time.sleep(pause * self._rng.uniform(0.2, 1.8))
        self._audit.close()

    def emit(self) -> None:
        """One event, between its two lines."""
        self._count += 1
        token = f"{self._name}.{self._count}"
        self._ledger.intend(token)
        try:
            event = self._audit.emit("user.user.updated", request=token, **self._arguments())
        except SpoolError:
            self._ledger.refused(token)
            return
        assert event is not None
        self._ledger.kept(Kept(token, event.audit.stream, event.audit.sequence, event.id, event.hash))

    def drain(self, seconds: float) -> bool:
        """Send what dead processes left; whether nothing is left."""
        self.emit()
        done = self._audit.drain(seconds) and self._audit.flush(seconds)
        sys.stderr.write(f"{self._audit.stats()}\n")
        self._audit.close()
        return done

    def _arguments(self) -> dict[str, Any]:
        rng = self._rng
        name = rng.choice(("Doe", "Zoë 🎉", 'O"Brien \\ ', "\u2028", "名前"))
        return {
            "actor": {"id": f"u{rng.randrange(9)}", "name": "ada"},
            "target": {"type": "user", "id": f"u{rng.randrange(99)}", "name": name},
            "before": {"last_name": name, "age": rng.randrange(99), "members": ["a"]},
            "after": {"last_name": "Dow", "age": None, "members": ["a", "b"]},
            "details": {"ratio": rng.random(), "text": "x" * (20_000 if rng.random() < 0.01 else 50)},
            "organization": rng.choice(("first", "second")),
        }


def _end(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the closing
    sys.exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--forward", required=True)
    parser.add_argument("--room", choices=ROOMS, default="plain")
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--drain", type=float)
    return parser.parse_args()


if __name__ == "__main__":
    main()
