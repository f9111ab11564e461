"""`make bench`: every figure beside its peer, as a table, and as JSON in benchmarks/results.json.

`make bench BENCH=console` takes the console's alone, over a million events or as many as EVENTS says: loading takes
minutes, and so `make bench` leaves them out. Their JSON is in benchmarks/results-console.json.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.schemas.settings import load
from benchmarks import cluster, console, emitting, importing, outage
from benchmarks.figures import Figure, table

HERE = Path(__file__).parent


def everything() -> Iterator[Figure]:
    yield from emitting.figures()
    yield from outage.figures()
    yield from importing.figures()
    yield from cluster.figures(fluent_bit=launcher.find(load()) is not None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("which", nargs="?", choices=["console"], help="the console's figures alone")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many the console's list is over")
    given = parser.parse_args()
    found = []
    for figure in console.figures(given.events) if given.which else everything():
        print(f"{figure.name}: {figure.row()[4]}", file=sys.stderr)
        found.append(figure)
    print(table(found))
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    results = HERE / (f"results-{given.which}.json" if given.which else "results.json")
    results.write_text(json.dumps({"machine": machine, "figures": [f.as_json() for f in found]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
