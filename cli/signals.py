"""Commands that go on until they are told to stop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Stop
from threading import Thread
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within it SIGTERM and SIGINT set the event; a second one ends the process at once, as without this.

    A thread sets it (`signal.set_wakeup_fd` tells it): a handler runs in the middle of the main thread, and if that is
    just about to wait for the event, setting it there waits for ever.
    """
    stop = Stop()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        if os.read(reading, 1):
            stop.set()
        if number := os.read(reading, 1):
            os._exit(128 + number[0])

    thread = Thread(target=wait, name="signals", daemon=True)
    thread.start()
    told = signal.set_wakeup_fd(writing)
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(told)
        os.close(writing)
        thread.join()
        os.close(reading)


@dataclass
class Interrupted:
    """Whether Ctrl-C came."""

    yes: bool = False


@contextmanager
def until_interrupted() -> Iterator[Interrupted]:
    """Ctrl-C ends the block, and nothing is raised. Ask now and then whether it came.

    CPython raises `KeyboardInterrupt` wherever the main thread is, and drops it if that is a file's finalizer
    (`iobase_finalize` of Modules/_io/iobase.c): an answer of the node is such a file.
    """
    interrupted = Interrupted()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.yes = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with suppress(KeyboardInterrupt):
            yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
