"""Ctrl-C and SIGTERM, wherever a command is when they come."""

import io
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from auditpipe.cli.signals import stop_on_signals, until_interrupted


class Answer(io.IOBase):
    """A file in whose finalizer Ctrl-C comes."""

    def close(self) -> None:
        if not self.closed:
            signal.raise_signal(signal.SIGINT)
        super().close()


def test_ctrl_c_in_a_finalizer_is_not_lost() -> None:
    """What Python raises there is gone."""
    reached = False
    with until_interrupted() as interrupted:
        answer = Answer()
        del answer
        reached = True
    assert (reached, interrupted.yes) == (True, True)


def test_what_was_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(120)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_ctrl_c_ends_the_block_at_once_and_what_was_before_comes_back() -> None:
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where all this runs in the background
    try:
        with until_interrupted() as interrupted:
            signal.raise_signal(signal.SIGINT)
            time.sleep(20)
        assert interrupted.yes
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            time.sleep(20)
    finally:
        signal.signal(signal.SIGINT, outside)


REPEATED = """
    import os, signal, sys, threading, time
    from auditpipe.cli.signals import stop_on_signals
    with stop_on_signals() as stop:
        print("ready", flush=True)
        while not stop.wait(1e-6):
            pass
        print("told", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_the_event_all_the_time_is_told_and_a_second_signal_ends_it(number: signal.Signals) -> None:
    """Set by a handler in the main thread, it would wait for the lock that this one holds."""
    code = textwrap.dedent(REPEATED)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.stdout.readline() == "told\n"
            process.send_signal(number)
            assert process.wait(120) == 128 + number
        finally:
            process.kill()
