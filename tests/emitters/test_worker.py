"""A thread that does one thing over and over."""

import logging
import threading

import pytest

from auditpipe.emitters.worker import Worker


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
