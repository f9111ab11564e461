"""A thread that does one thing over and over."""

import logging
import threading

import pytest

from auditpipe.emitters.worker import Worker
from tests.waiting import until


@pytest.mark.parametrize("is_ended", [True, False])
def test_what_fails_because_it_was_ended_is_no_warning(caplog: pytest.LogCaptureFixture, is_ended: bool) -> None:
    """`close` closes a connection that a worker waits on: the error that the worker gets is no news."""
    begun, goes_on, again = threading.Event(), threading.Event(), threading.Event()

    def work() -> float:
        if begun.is_set():
            again.set()
            return 60.0
        begun.set()
        goes_on.wait(120)
        raise OSError(9, "Bad file descriptor")

    worker = Worker("adopter", work, retry_cap=0.1)
    with caplog.at_level(logging.INFO):
        worker.start()
        begun.wait(120)
        if is_ended:
            worker.stop()
        goes_on.set()
        assert again.wait(0 if is_ended else 120) is not is_ended
        worker.stop()
        assert worker.join(120)
    assert bool(caplog.records) is not is_ended


@pytest.mark.parametrize("error", [OSError(111, "Connection refused"), KeyError("a bug")])
def test_a_log_that_can_t_be_written_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """As a filter of the application's that raises, or stderr that was closed and no logging set up."""

    def broken(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    for level in ("debug", "warning", "error"):
        monkeypatch.setattr(f"auditpipe.emitters.worker.log.{level}", broken)
    tries: list[str | None] = []

    def work() -> float:
        tries.append(worker.problem)
        if len(tries) < 4:
            raise error
        return 60.0

    worker = Worker("sender", work, retry_cap=0.01)
    worker.start()
    until(lambda: len(tries) == 4 and worker.problem is None)
    assert tries == [None, str(error), str(error), str(error)]
    worker.stop()
    assert worker.join(120)


def test_who_is_stopped_before_its_rest_does_not_rest() -> None:
    goes_on = threading.Event()

    def work() -> float:
        goes_on.wait(120)
        return 600.0

    worker = Worker("keeper", work, retry_cap=0.1)
    worker.start()
    worker.stop()
    goes_on.set()
    assert worker.join(120)
