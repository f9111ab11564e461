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
#: Who has Security's own role `all_access`, as the user `admin` of other clusters has.
CLUSTER_ADMIN = "cluster's admin"
TITLES = {role.title: role.name for role in roles.ROLES}
WRITER, ADMIN, SUPER_ADMIN, AUDITOR = TITLES
#: The admin certificate comes last: it alone is expected to alter anything.
COLUMNS = (WRITER, ADMIN, SUPER_ADMIN, AUDITOR, LIMITED, NOBODY, CLUSTER_ADMIN, CERTIFICATE)
REFUSED, ALLOWED = Verdict.REFUSED, Verdict.ALLOWED

Rows = list[tuple[Call, dict[str, Verdict]]]


def people(opensearch: RealOpenSearch, ground: Ground) -> dict[str, OpenSearch]:
    """Someone for each column."""
    limited = opensearch.add_user()
    organization = ground.mine["organization"]["id"]
    grant = access.Grant(str(limited.get("username")), "admin", organization)
    access.grant(opensearch.client(opensearch.super_admin), grant)
    named = {title: opensearch.add_user(name) for title, name in TITLES.items()}
    everyone = {**named, LIMITED: limited, NOBODY: opensearch.add_user()}
    everyone |= {CLUSTER_ADMIN: opensearch.add_user("all_access"), CERTIFICATE: opensearch.admin}
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


def allowed_to(rows: Rows, *areas: Area) -> dict[str, set[str]]:
    """Who may more than nothing, call by call."""
    return {
        f"{call.area}: {call.words}": {name for name, verdict in cells.items() if verdict is not REFUSED}
        for call, cells in rows
        if call.area in areas
    }


def test_every_call_is_answered_for_everyone_and_works_for_whoever_may(rows: Rows) -> None:
    """A call that is wrong in itself would be refused to all, and prove nothing."""
    assert len(rows) == len({(call.area, call.words) for call, _ in rows}) > 40
    assert all(tuple(cells) == COLUMNS for _, cells in rows)
    impossible = ["take write-once off the cluster", "take write-once off a month", "keep a script"]
    assert [call.words for call, cells in rows if cells[CERTIFICATE] is not ALLOWED] == impossible


def test_none_of_our_roles_alters_copies_or_removes_anything(rows: Rows) -> None:
    assert all(may == {CERTIFICATE} for may in allowed_to(rows, Area.ALTER, Area.SECURITY).values())
    areas = (Area.INDEX, Area.COPY, Area.NODE, Area.OTHER)
    assert {who for may in allowed_to(rows, *areas).values() for who in may} == {CERTIFICATE, CLUSTER_ADMIN}


def test_write_once_keeps_months_whole_from_the_clusters_admin_too(rows: Rows) -> None:
    """All else about months and copies they can do: docs/security.md says which of our tools finds it."""
    refused = {
        call.words
        for call, cells in rows
        if call.area in (Area.INDEX, Area.COPY) and cells[CLUSTER_ADMIN] is REFUSED and cells[CERTIFICATE] is ALLOWED
    }
    assert refused == {
        *("add an alias", "take our alias away", "put another index in a month's place", "close", "delete"),
        *("restore over a month", "restore another index as a month"),
    }


def test_nobody_but_the_writer_adds_events(rows: Rows) -> None:
    assert all(may == {WRITER, CLUSTER_ADMIN, CERTIFICATE} for may in allowed_to(rows, Area.CREATE).values())


def test_nobody_but_a_super_admin_reads_who_looked_and_not_even_they_alter_it(rows: Rows) -> None:
    may = allowed_to(rows, Area.RECORD)
    reading = {f"{Area.RECORD}: search", f"{Area.RECORD}: get by id"}
    assert {words for words, who in may.items() if who == {SUPER_ADMIN, CLUSTER_ADMIN, CERTIFICATE}} == reading
    adding = f"{Area.RECORD}: add a record"
    assert may.pop(adding) == {CLUSTER_ADMIN, CERTIFICATE}
    assert all(who == {CERTIFICATE} for words, who in may.items() if words not in reading)


def test_readers_see_what_retention_removed_the_writer_when_and_none_of_them_alters_it(rows: Rows) -> None:
    """The cluster's admin may add one: it is not signed, and so `verify` and `doctor` find it."""
    readers = {ADMIN, SUPER_ADMIN, AUDITOR, LIMITED, CLUSTER_ADMIN, CERTIFICATE}
    wanted = {"search": readers, "get by id": readers, "add a record": {CLUSTER_ADMIN, CERTIFICATE}}
    for words, may in allowed_to(rows, Area.REMOVED).items():
        if not words.endswith("mget"):
            assert may == wanted.get(words.removeprefix(f"{Area.REMOVED}: "), {CERTIFICATE}), words
    [mget] = [cells for call, cells in rows if (call.area, call.words) == (Area.REMOVED, "mget")]
    assert {name for name, cell in mget.items() if cell is Verdict.WHEN} == {WRITER}


def test_nobody_but_a_super_admin_grants_access(rows: Rows) -> None:
    assert all(may == {SUPER_ADMIN, CERTIFICATE} for may in allowed_to(rows, Area.ACCESS).values())


def test_who_has_no_role_learns_nothing_but_about_themselves(rows: Rows) -> None:
    assert {call.area for call, cells in rows if cells[NOBODY] is not REFUSED} == {Area.SELF}


def test_admin_super_admin_and_auditor_read_the_same_of_events(rows: Rows) -> None:
    for call, cells in rows:
        if call.area in (Area.READ, Area.ABOUT):
            assert cells[ADMIN] is cells[SUPER_ADMIN] is cells[AUDITOR], call.words


def test_who_is_limited_to_an_organization_sees_it_alone(rows: Rows) -> None:
    """Where an Admin sees events of both. What tells of no event (a point in time, field names) is as for an Admin."""
    tell_of_one_or_none = {"get by id", "open a point in time", "field_caps"}
    for call, cells in rows:
        if call.area is Area.READ and cells[ADMIN] is ALLOWED and call.words not in tell_of_one_or_none:
            hidden = REFUSED if "another" in call.words else Verdict.OWN
            assert cells[LIMITED] is hidden, call.words
        else:
            assert cells[LIMITED] is cells[ADMIN], call.words


def test_the_writer_reads_a_hash_and_nothing_else(rows: Rows) -> None:
    told = {call.words: cells[WRITER] for call, cells in rows if call.area in (Area.READ, Area.ABOUT)}
    assert {words: verdict for words, verdict in told.items() if verdict is not REFUSED} == {"mget": Verdict.HASH}
