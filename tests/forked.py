"""Many runs of the command line in little time: each in a process of its own, forked from one that has imported it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.stored import Ran, environment

_DRIVER = """
import importlib, json, os, pkgutil, sys
import auditpipe.cli.commands, opensearchpy
from auditpipe.cli.entry import main
for module in pkgutil.iter_modules(auditpipe.cli.commands.__path__, "auditpipe.cli.commands."):
    importlib.import_module(module.name)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.environ.clear()
            os.environ.update(asked["env"])
            os.chdir(asked["cwd"])
            for number, name in enumerate(("in", "out", "err")):
                os.dup2(os.open(asked[name], os.O_RDWR), number)
            code = main(asked["arguments"])
        except SystemExit as error:
            code = error.code
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Commands:
    """`run` as in `tests.stored`, for commands that end by themselves and whose process nobody looks at."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._driver = subprocess.Popen(
            [sys.executable, "-c", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._driver.stdin is not None and self._driver.stdout is not None
        self._driver.stdin.close()
        self._driver.wait(120)
        self._driver.stdout.close()
        self._folder.cleanup()

    def run(self, *arguments: str, env: dict[str, str], cwd: Path, stdin: bytes = b"") -> Ran:
        """Run `auditpipe ARGUMENTS`."""
        files = {name: f"{self._folder.name}/{name}" for name in ("in", "out", "err")}
        for name, path in files.items():
            Path(path).write_bytes(stdin if name == "in" else b"")
        asked: dict[str, Any] = {"arguments": arguments, "env": environment(**env), "cwd": str(cwd), **files}
        assert self._driver.stdin is not None and self._driver.stdout is not None
        self._driver.stdin.write(json.dumps(asked) + "\n")
        self._driver.stdin.flush()
        code = int(self._driver.stdout.readline())
        out, err = (Path(files[name]).read_text(encoding="utf-8") for name in ("out", "err"))
        return Ran(code, out, err)
