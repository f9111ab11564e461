"""stdout as the commands have it."""

import subprocess
import sys
import textwrap

from tests.stored import environment

INTERRUPTED_WRITER = """
    import signal, sys
    from auditpipe.cli.stdout import guard

    class Told(Exception):
        pass

    def tell(*_):
        raise Told

    guard()
    interrupted = written = 0
    signal.signal(signal.SIGALRM, tell)
    for turn in range(2000):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00005 + turn % 50 * 0.00001)
            while True:
                written += 1
                sys.stdout.buffer.write(b"%d\\n" % written)
                sys.stdout.buffer.flush()
        except Told:
            interrupted += 1
    sys.stdout.flush()
    sys.stderr.write(str(interrupted))
"""


def test_nothing_is_out_twice_or_cut_when_ctrl_c_comes_in_the_middle_of_it() -> None:
    code = textwrap.dedent(INTERRUPTED_WRITER)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stderr) == (0, "2000")
    lines = [int(line) for line in done.stdout.splitlines()]
    assert len(lines) > 2000
    assert lines == sorted(set(lines))
