"""The run of all calls as all roles, and its table in docs/access.md."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from tests.pipeline.refusals.calls import Area, Call
from tests.pipeline.refusals.ground import Ground, Request, send
from tests.pipeline.refusals.verdicts import Answer, Verdict

DOCUMENT = Path(__file__).parents[3] / "docs" / "access.md"

_HEAD = """\
# Who may do what: the run

Each cell is the answer that a real node gave to this call from someone with this role; none is written by hand. The
test that makes the calls (`tests/pipeline/test_refusals.py`) fails when an answer is another one, and `make access`
writes this table anew. [Roles and access](access-roles.md) says what the roles are for.

- **allowed**: done, or shown whole.
- **own**: shown as far as it is of the reader's own organization.
- **hash**: `audit.hash` of an event whose id one knows, and nothing else of it.
- **when**: of a record that retention removed a month, which month, when, and the record's id.
- refused: not done, nothing shown.

"of one organization" is an Admin by `auditpipe access grant USER --role admin --org ORG`; what that limit is worth
against requests written by hand is in [roles](access-roles.md#what-an-organizations-limit-is-worth). "nobody" can sign
in and has no role. The admin certificate is no role: it is there to show that each call works for whoever may.
Scripts are refused to it too: the node takes none; and write-once is taken off by a restart of every node alone. The
cluster's admin has Security's own role `all_access`, as the user `admin` of many clusters: what that one can still do,
and what finds it, is in [security](security.md#what-the-clusters-admin-can-still-do).
"""

Cells = Mapping[str, Verdict]


def judged(ground: Ground, call: Call, who: OpenSearch, certificate: OpenSearch) -> Verdict:
    """Make the call as this person, and undo it with the admin certificate where it was done."""
    answer = _ask(who, call.request(certificate) if callable(call.request) else call.request)
    if answer.status in call.refusals:
        return Verdict.REFUSED
    assert answer.status == 200, (call.words, answer)
    verdict = call.judge(ground, answer)
    if verdict is not Verdict.REFUSED:
        for request in call.undo:
            send(certificate, request)
    return verdict


def _ask(who: OpenSearch, request: Request) -> Answer:
    try:
        return Answer(200, send(who, request))
    except TransportError as error:
        return Answer(int(error.status_code), error.info)


def markdown(columns: Sequence[str], rows: Sequence[tuple[Call, Cells]]) -> str:
    """docs/access.md, whole."""
    return "\n".join(_lines(columns, rows)) + "\n"


def _lines(columns: Sequence[str], rows: Sequence[tuple[Call, Cells]]) -> Iterator[str]:
    yield _HEAD.rstrip()
    for area in Area:
        yield f"\n## {area}\n"
        yield f"| | {' | '.join(columns)} |"
        yield "|---" * (len(columns) + 1) + "|"
        for call, cells in rows:
            if call.area is area:
                yield f"| {call.words} | {' | '.join(_cell(cells[name]) for name in columns)} |"


def _cell(verdict: Verdict) -> str:
    return str(verdict) if verdict is Verdict.REFUSED else f"**{verdict}**"
