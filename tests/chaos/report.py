"""What a campaign came to: a table for a person, numbers for a program."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.check import Result
from tests.chaos.recovery import Recovery, summary
from tests.chaos.schedule import KINDS

#: Ids of each kind of finding that are printed; `--json` has them all.
SHOWN = 20


@dataclass(frozen=True)
class Report:
    """`problems`: whatever else may not be, in sentences: a part that ended by itself, what `verify` has found."""

    seed: int
    minutes: float
    shipper: str
    apart: bool
    faults: Counter[str]
    emitters: int
    refused: int
    result: Result
    recoveries: list[Recovery]
    settled_seconds: float
    verify: str
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.result.findings and not self.problems

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        result = self.result
        return {
            **{"seed": self.seed, "minutes": self.minutes, "shipper": self.shipper, "apart": self.apart},
            **{"events": result.promised, "stored": result.stored, "undecided": result.undecided},
            **{"closed": result.closed, "refused": self.refused, "emitters": self.emitters},
            **{kind: result.count(kind) for kind in ("lost", "doubled", "altered", "unexplained")},
            "faults": dict(self.faults),
            "recovery_seconds": summary(self.recoveries),
            "settled_seconds": self.settled_seconds,
            "verify": self.verify,
            "findings": [{"kind": f.kind, "id": f.id, "detail": f.detail} for f in result.findings],
            "problems": self.problems,
        }


def table(report: Report) -> str:
    """For a person."""
    result = report.result
    rows = [
        ("seed", f"{report.seed}"),
        ("shipper", f"{report.shipper}, {report.minutes:g} minutes" + (", one fault at a time" * report.apart)),
        ("events", f"{result.promised:,} in the ledgers of {report.emitters} emitters, {result.stored:,} stored"),
        ("beside them", f"{result.undecided} whose emitter was ended in emit, {result.closed} ends of streams"),
        ("refused", f"{report.refused:,} that emit did not take (spool or disk full)"),
        *((kind, f"{result.count(kind)}") for kind in ("lost", "doubled", "altered", "unexplained")),
        ("at rest", f"{report.settled_seconds:.1f} s after the last fault"),
        ("verify", report.verify),
    ]
    lines = [f"{name:<12}  {value}" for name, value in rows]
    lines += ["", f"{'fault':<20}{'times':>6}{'measured':>10}{'median s':>10}{'max s':>8}"]
    lines += [_fault(kind, report.faults[kind], summary(report.recoveries)) for kind in KINDS]
    lines += [f"\n{finding.kind}: {finding.id}: {finding.detail}" for finding in result.findings[:SHOWN]]
    if len(result.findings) > SHOWN:
        lines.append(f"... and {len(result.findings) - SHOWN} more")
    lines += [f"\nproblem: {problem}" for problem in report.problems]
    return "\n".join(lines)


def _fault(kind: str, times: int, measured: dict[str, dict[str, float]]) -> str:
    own = measured.get(kind)
    numbers = f"{own['measured']:>10}{own['median']:>10.2f}{own['max']:>8.1f}" if own else f"{'-':>10}{'-':>10}{'-':>8}"
    return f"{kind:<20}{times:>6}{numbers}"
