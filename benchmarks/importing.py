"""What an application pays for the import, against `import pydantic` alone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.figures import Figure, at_most, paired

_CODE = (
    "import time;t=time.perf_counter();import {module};t=time.perf_counter()-t;"
    "peak=next(line for line in open('/proc/self/status') if line.startswith('VmHWM'));"  # of this image alone
    "print(t*1e3,int(peak.split()[1])/1024)"
)
ROUNDS = 9


def cost(module: str, bytecode: str) -> tuple[float, float]:
    """(milliseconds, MiB at most) in a new process. Bytecode is kept in a folder, as an installer leaves it."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(module=module)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode},
        capture_output=True,
        text=True,
        check=True,
    )
    milliseconds, mebibytes = done.stdout.split()
    return float(milliseconds), float(mebibytes)


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as bytecode:
        yield from _figures(bytecode)


def _figures(bytecode: str) -> Iterator[Figure]:
    for index, (name, unit, limit) in enumerate((("import time", "ms", 3.0), ("import memory", "MiB", 1.5))):
        ours, theirs = paired(
            ROUNDS,
            lambda i=index: cost("auditpipe.emitters", bytecode)[i],
            lambda i=index: cost("pydantic.main", bytecode)[i],  # type: ignore[misc]
        )
        yield at_most(limit, name=name, peer="import pydantic.main", unit=unit, ours=ours, theirs=theirs)
