"""What each role may do and may not, call by call, as a real node answers; docs/access.md is this run."""

import pytest
from opensearchpy import OpenSearch

from auditpipe.pipeline import access, roles
from tests.conftest import RealOpenSearch
from tests.pipeline.refusals import table
from tests.pipeline.refusals.calls import Area, Call, calls
from tests.pipeline.refusals.ground import Ground, prepared
from tests.pipeline.refusals.verdicts import Verdict

pytestmark = pytest.mark.opensearch

CERTIFICATE, LIMITED, NOBODY = "admin certificate", "of one organization", "nobody"
TITLES = {role.title: role.name for role in roles.ROLES}
WRITER, ADMIN, SUPER_ADMIN, AUDITOR = TITLES
#: The admin certificate comes last: it alone is expected to alter anything.
COLUMNS = (WRITER, ADMIN, SUPER_ADMIN, AUDITOR, LIMITED, NOBODY, CERTIFICATE)
REFUSED, ALLOWED = Verdict.REFUSED, Verdict.ALLOWED

Rows = list[tuple[Call, dict[str, Verdict]]]


def people(opensearch: RealOpenSearch, ground: Ground) -> dict[str, OpenSearch]:
    """Someone for each column."""
    limited = opensearch.add_user()
    organization = ground.mine["organization"]["id"]
    grant = access.Grant(str(limited.get("username")), "admin", organization)
    access.grant(opensearch.client(opensearch.super_admin), grant)
    named = {title: opensearch.add_user(name) for title, name in TITLES.items()}
    everyone = {**named, LIMITED: limited, NOBODY: opensearch.add_user(), CERTIFICATE: opensearch.admin}
    return {name: opensearch.client(settings) for name, settings in everyone.items()}


@pytest.fixture(scope="module")
def rows(opensearch: RealOpenSearch) -> Rows:
    """Every call, as everyone: the whole run."""
    with prepared(opensearch.client()) as ground:
        everyone = people(opensearch, ground)
        made: Rows = [(call, {}) for call in calls(ground)]
        for name in COLUMNS:
            for call, cells in made:
                cells[name] = table.judged(ground, call, everyone[name], everyone[CERTIFICATE])
    return made


def test_the_document_is_what_the_node_answered(rows: Rows, request: pytest.FixtureRequest) -> None:
    """`make access` writes it."""
    text = table.markdown(COLUMNS, rows)
    if request.config.getoption("--write-table", default=False):
        table.DOCUMENT.write_text(text, encoding="utf-8")
    assert table.DOCUMENT.read_text(encoding="utf-8") == text, "docs/access.md is stale: `make access`"
