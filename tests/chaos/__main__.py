"""`make chaos`: break everything at once, then look whether an event is lost, doubled or altered.

Exit 0: nothing was. 1: something was, or did not come back by itself. 130: ended by Ctrl-C or SIGTERM.
"""

import argparse
import json
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.campaign import Options, run
from tests.chaos.report import table
from tests.chaos.world import World


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="auditpipe-chaos-"))
    options = Options(arguments.seed, arguments.minutes, arguments.shipper, arguments.apart)
    _say(f"seed {options.seed}, {options.minutes:g} minutes, in {folder}")
    kept = True
    try:
        report = run(options, folder, _say)
        sys.stdout.write(table(report) + "\n")
        if arguments.json:
            arguments.json.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
        kept = not report.ok or arguments.keep
        return 0 if report.ok else 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    finally:
        if kept:
            _say(f"kept for a look: {folder}")
        else:
            World.remove(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="A fault campaign; docs/reliability.md.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats a schedule of faults")
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults; the rest takes one or two more")
    parser.add_argument("--shipper", choices=("auto", "relay", "fluent-bit"), default="auto")
    parser.add_argument("--apart", action="store_true", help="one fault at a time, the next after its recovery")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    return parser.parse_args()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    sys.exit(main())
