"""`make bench`: every figure beside its peer, as a table, and as JSON in benchmarks/results.json."""

import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.schemas.settings import load
from benchmarks import cluster, emitting, importing, outage
from benchmarks.figures import Figure, table

RESULTS = Path(__file__).parent / "results.json"


def figures() -> Iterator[Figure]:
    yield from emitting.figures()
    yield from outage.figures()
    yield from importing.figures()
    yield from cluster.figures(fluent_bit=launcher.find(load()) is not None)


def main() -> int:
    found = []
    for figure in figures():
        print(f"{figure.name}: {figure.row()[4]}", file=sys.stderr)
        found.append(figure)
    print(table(found))
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    RESULTS.write_text(json.dumps({"machine": machine, "figures": [f.as_json() for f in found]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
