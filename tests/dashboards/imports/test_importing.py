"""The import, against a server that answers as Dashboards does (see fake.py): done whole, or as if it had not been."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from auditpipe.dashboards.imports import importing
from auditpipe.dashboards.imports.server import Dashboards
from auditpipe.dashboards.objects.build import build
from auditpipe.dashboards.objects.saved import SavedObject
from auditpipe.schemas.errors import AuditpipeError, Finding, NotAllowed, NotFinished, OutOfReach, SettingsError
from auditpipe.schemas.settings import Settings, load
from tests.conftest import free_port
from tests.dashboards.imports.fake import PASSWORD, USER, Fake, Trouble, fake_dashboards

OBJECTS = build()
FIRST = OBJECTS[1]
#: The pattern and the searches, which need nothing else.
FEW = OBJECTS[:8]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr(importing, "_POLL_S", 0.01)
    with fake_dashboards() as fake:
        yield fake


def settings_for(url: str, **more: str) -> Settings:
    given: dict[str, str | None] = {"url": "https://127.0.0.1:1", "username": USER, "password": PASSWORD}
    return load({**given, "dashboards_url": url, **more}, environment={})


def server(fake: Fake, tenant: str = "audit", **more: str) -> Dashboards:
    return Dashboards(settings_for(fake.url, **more), tenant)


def imported(fake: Fake, tenant: str = "audit", objects: tuple[SavedObject, ...] = OBJECTS) -> importing.Report:
    """As the command does it."""
    one = server(fake, tenant)
    importing.wait(one, 5)
    return importing.run(one, objects)


def key(one: SavedObject) -> tuple[str, str]:
    return one.type, one.id


def older(one: SavedObject) -> dict[str, Any]:
    """The same object as somebody had changed it."""
    return {**one.document(), "attributes": {**one.attributes, "title": "as somebody named it"}}


def whole(fake: Fake, objects: tuple[SavedObject, ...] = OBJECTS) -> bool:
    documents = [one.document() for one in objects]
    expected = {(d["type"], d["id"]): (d["attributes"], d["references"]) for d in documents}
    return fake.state().get("audit") == expected


def test_every_object_is_written_into_the_tenant_and_into_no_other(fake: Fake) -> None:
    report = imported(fake)
    assert report == importing.Report(tuple(one.name for one in OBJECTS), (), ())
    assert whole(fake)
    assert set(fake.state()) == {"audit"}
    for _, _, headers in fake.requests:
        assert headers["osd-xsrf"] == "true"
        assert headers["securitytenant"] == "audit"


def test_a_second_import_finds_all_as_it_was(fake: Fake) -> None:
    imported(fake)
    before = fake.state()
    assert imported(fake) == importing.Report((), (), tuple(one.name for one in OBJECTS))
    assert fake.state() == before


def test_what_somebody_changed_is_put_right_and_what_is_theirs_stays(fake: Fake) -> None:
    fake.put("audit", older(FIRST))
    theirs = {"type": "search", "id": "theirs", "attributes": {"title": "Theirs"}, "references": []}
    fake.put("audit", theirs)
    report = imported(fake)
    assert report.changed == (FIRST.name,)
    assert len(report.created) == len(OBJECTS) - 1
    assert fake.state()["audit"].pop(("search", "theirs")) == (theirs["attributes"], [])


def test_it_waits_while_dashboards_starts_and_says_why_once(fake: Fake) -> None:
    fake.trouble = Trouble(starting=3, opensearch_away=2)
    said: list[OutOfReach] = []
    importing.wait(server(fake), 5, said.append)
    assert [str(reason) for reason in said] == [
        f"{fake.url} can't answer now (503 OpenSearch Dashboards server is not ready yet): try again in a while"
    ]


@pytest.mark.parametrize("trouble", [Trouble(starting=10**6), Trouble(opensearch_away=10**6), Trouble(red=True)])
def test_it_does_not_wait_for_ever(fake: Fake, trouble: Trouble) -> None:
    fake.trouble = trouble
    with pytest.raises(NotFinished, match="after 0 s"):
        importing.wait(server(fake), 0.05)
    assert fake.written() == []


def test_where_nothing_listens_is_said() -> None:
    with pytest.raises(NotFinished, match="nothing listens there"):
        importing.wait(Dashboards(settings_for(f"http://127.0.0.1:{free_port()}"), "audit"), 0)


def test_a_wrong_password_ends_it_at_once_and_is_not_shown(fake: Fake) -> None:
    one = Dashboards(settings_for(fake.url, password="Aa1-another-secret"), "audit")
    with pytest.raises(NotAllowed, match=f"wrong name or password for {USER}") as refused:
        importing.wait(one, 60)
    assert "secret" not in str(refused.value)
    assert len(fake.requests) == 1


def test_who_may_only_see_the_tenant_changes_nothing(fake: Fake) -> None:
    fake.tenants["audit"] = False
    fake.put("audit", older(FIRST))
    before = fake.state()
    with pytest.raises(NotAllowed, match="a Super Admin may write to the tenant"):
        imported(fake)
    assert fake.state() == before


@pytest.mark.parametrize(("held", "instead"), [({}, "the global tenant"), ({"other": True}, "the global tenant")])
def test_a_tenant_that_dashboards_would_swap_for_another_is_refused_before_anything_is_sent(
    fake: Fake, held: dict[str, bool], instead: str
) -> None:
    fake.tenants = held
    with pytest.raises(NotAllowed, match=f"the tenant 'audit' is not there .* would take {instead}"):
        imported(fake)
    assert fake.written() == []


def test_the_global_tenant_is_one_that_can_be_asked_for(fake: Fake) -> None:
    fake.tenants[""] = True
    imported(fake, "global")
    assert set(fake.state()) == {""}


def test_a_dashboards_without_tenants_is_one_place(fake: Fake) -> None:
    fake.trouble.no_multitenancy = True
    fake.tenants[""] = True
    with pytest.raises(NotAllowed, match=r"has no tenants .* give --dashboards-tenant ''"):
        imported(fake)
    imported(fake, "")
    assert set(fake.state()) == {""}
    assert "securitytenant" not in fake.requests[-1][2]


def test_a_conflict_is_no_success_whatever_else_the_answer_lists(fake: Fake) -> None:
    """`successResults` is filled and nothing was written."""
    fake.trouble.conflicts = {key(FIRST)}
    with pytest.raises(Finding, match=f"did not import all: {FIRST.name}: conflict"):
        imported(fake)
    assert fake.state() == {}


def test_a_missing_reference_is_named(fake: Fake) -> None:
    with pytest.raises(Finding, match=f"{FIRST.name}: refers to index-pattern/audit-events, which is not there"):
        imported(fake, objects=(FIRST,))
    assert fake.state() == {}


def test_an_object_from_the_future_is_refused_whole(fake: Fake) -> None:
    newer = replace(OBJECTS[0], migration_version="9.0.0")
    with pytest.raises(Finding, match=r"did not take the objects \(422\): .* a more recent version"):
        imported(fake, objects=(newer, *OBJECTS[1:]))
    assert fake.state() == {}


def test_half_an_import_is_taken_back(fake: Fake) -> None:
    """OpenSearch stored all but one: what was new is removed, what was there is as it was."""
    fake.put("audit", older(FIRST))
    before = fake.state()
    fake.trouble.fails = {key(OBJECTS[10])}
    with pytest.raises(Finding, match="mapper_parsing_exception"):
        imported(fake)
    assert fake.state() == before
    assert imported(fake).changed == (FIRST.name,)


def test_an_unknown_attribute_is_told_and_taken_back(fake: Fake) -> None:
    odd = replace(FIRST, attributes={**FIRST.attributes, "colour": "red"})
    with pytest.raises(Finding, match=r"dynamic introduction of \[colour\]"):
        imported(fake, objects=(OBJECTS[0], odd))
    assert fake.state() == {}


@pytest.mark.parametrize("trouble", [Trouble(lost={key(FIRST)}), Trouble(altered={key(FIRST)})])
def test_what_does_not_read_back_as_it_was_sent_is_no_success(fake: Fake, trouble: Trouble) -> None:
    fake.trouble = trouble
    with pytest.raises(Finding, match=f"{FIRST.name} read back otherwise, or not at all"):
        imported(fake)
    assert fake.state() == {}


@pytest.mark.parametrize("path", ["_import", "_bulk_get"])
def test_an_answer_that_never_came_leaves_no_half_import(fake: Fake, path: str) -> None:
    fake.put("audit", older(FIRST))
    before = fake.state()
    fake.trouble.hangs_up = path
    with pytest.raises(OutOfReach, match="broke off the connection"):
        imported(fake)
    assert fake.state() == before


def test_what_can_not_be_put_back_is_said(fake: Fake) -> None:
    fake.trouble = Trouble(fails={key(FIRST)}, dead_after_import=True)
    with pytest.raises(NotFinished, match=r"could not be put back .* run it again when it can answer"):
        imported(fake)
    fake.dead, fake.trouble = False, Trouble()
    imported(fake)
    assert whole(fake)


def test_ctrl_c_leaves_no_half_import(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_read_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imported(fake)
    assert fake.state() == {}


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    there=st.sets(st.sampled_from(range(len(FEW)))),
    fails=st.sets(st.sampled_from(range(len(FEW))), max_size=3),
    lost=st.sets(st.sampled_from(range(len(FEW))), max_size=2),
    hangs_up=st.sampled_from(["", "_import", "_bulk_get"]),
)
def test_it_is_done_whole_or_as_if_it_had_not_been(
    monkeypatch: pytest.MonkeyPatch,
    there: set[int],
    fails: set[int],
    lost: set[int],
    hangs_up: str,
) -> None:
    monkeypatch.setattr(importing, "_POLL_S", 0.01)
    with fake_dashboards() as fake:
        for number in there:
            fake.put("audit", older(FEW[number]))
        before = fake.state()
        fake.trouble = Trouble(fails={key(FEW[n]) for n in fails}, lost={key(FEW[n]) for n in lost}, hangs_up=hangs_up)
        try:
            imported(fake, objects=FEW)
        except AuditpipeError:
            assert fake.state() == before
        else:
            assert whole(fake, FEW)
            assert not fails | lost


def test_a_proxy_that_sends_elsewhere_is_not_followed_with_the_password(fake: Fake) -> None:
    fake.trouble.moved = "https://elsewhere.example/"
    with pytest.raises(NotFinished, match="answered 302, elsewhere"):
        importing.wait(server(fake), 0)


def test_its_certificate_is_checked(tmp_path: Path) -> None:
    import ssl

    from auditpipe.pipeline.local import certificates

    signed = certificates.ensure(tmp_path / "certs", certificates.LOCAL_NAMES)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed.node.certificate, signed.node.key)
    with fake_dashboards(tls) as fake:
        with pytest.raises(NotFinished, match=r"no TLS connection .* --dashboards-ca-file"):
            importing.wait(server(fake), 0)
        assert fake.requests == []
        importing.wait(server(fake, dashboards_ca_file=str(signed.ca)), 0)
        importing.wait(server(fake, ca_file=str(signed.ca)), 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dashboards_url": "http://dashboards.example"}, "http:// is for this machine only"),
        ({"dashboards_url": "https://root:secret@dashboards.example"}, "the URL holds a name or a password"),
        ({"dashboards_url": None}, "no OpenSearch Dashboards is named"),
        ({"username": None, "password": None}, "a name and a password, or a token"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(given: dict[str, str | None], said: str) -> None:
    values = {**settings_for("http://127.0.0.1:1").values, **given}
    with pytest.raises(SettingsError, match=said):
        Dashboards(Settings(values), "audit")
