"""Whether the records of retention and holds can be believed, and whether each removal was finished."""

from collections.abc import Iterator

from opensearchpy import OpenSearch

from auditpipe.pipeline.doctor.check import Check, finding, ok
from auditpipe.pipeline.retention import belief, ledger, months
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.schemas.errors import NotAllowed
from auditpipe.schemas.identity import RECORDS_INDEX
from auditpipe.schemas.settings import Settings

_NAME = "retention"


def examine(settings: Settings, client: OpenSearch) -> Iterator[Check]:
    """A line for each thing that is odd, or one that says that nothing is."""
    trust = Trust.read(settings)
    flaws = list(belief.every_flaw(client, trust))
    for flaw in flaws:
        remedy = f"find out in security-auditlog-* who wrote to {RECORDS_INDEX}; `verify` does not believe it"
        yield finding(_NAME, flaw.detail, remedy)
    if flaws:
        return
    found = months.survey(client, trust)
    partly = [one for one in found if one.removed and one.exists]
    if any(one.blocked is None for one in partly):
        raise NotAllowed("whether removals were finished is for the admin certificate to see")
    unfinished = [one.month for one in partly if not (one.blocked and one.events == one.kept > 0)]
    for month in unfinished:
        told = f"{month} is on record as removed, and its index is there and open, or holds what nothing keeps"
        yield finding(_NAME, told, "`auditpipe retention apply` as before: it finishes what was interrupted")
    if not unfinished:
        held = sum(1 for one in found if one.held)
        gone = sum(1 for one in found if one.removed)
        yield ok(_NAME, f"{gone} months removed on record, {held} months with events that holds keep")


def kept_shut(client: OpenSearch) -> frozenset[str]:
    """Indices that retention keeps from being written to: what holds keep of a removed month."""
    commits = ledger.find(client, ledger.of_kinds("month_removed"))
    return frozenset(months.index_of_month(str(document.get("month"))) for _, document in commits)
