"""Provisioning on a real node."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy.exceptions import RequestError

from auditpipe.cli.commands.provision import command
from auditpipe.pipeline import provision, template, writeonce
from auditpipe.pipeline.plan import State
from auditpipe.pipeline.provision import Options
from auditpipe.pipeline.writeonce import WriteOnce
from auditpipe.schemas.errors import Conflict, Finding, NotAllowed, UsageError
from auditpipe.schemas.identity import parse_time
from tests.conftest import RealOpenSearch

pytestmark = pytest.mark.opensearch
OPTIONS = Options(accounts=(provision.writer(),))


def run(opensearch: RealOpenSearch, *arguments: str, profile: str = "operator") -> Result:
    return CliRunner().invoke(command, arguments, env=opensearch.environment(profile), standalone_mode=False)


def everything(opensearch: RealOpenSearch) -> list[Any]:
    """All that provisioning may change."""
    paths = ["_index_template", "_cluster/settings", "_alias", "audit-events-*/_mapping"]
    paths += [f"_plugins/_security/api/{kind}" for kind in ("roles", "rolesmapping", "internalusers", "tenants")]
    return [opensearch.request("GET", f"/{path}") for path in paths]


@pytest.fixture
def foreign_template(opensearch: RealOpenSearch) -> Iterator[str]:
    body = {"index_patterns": ["audit-events-*"], "priority": 1000}
    opensearch.request("PUT", "/_index_template/someone-elses", body)
    yield "someone-elses"
    opensearch.request("DELETE", "/_index_template/someone-elses")


def test_a_second_run_changes_nothing(opensearch: RealOpenSearch) -> None:
    before = everything(opensearch)
    report = provision.provision(opensearch.client(), OPTIONS)
    assert report.done == ()
    assert everything(opensearch) == before


def test_what_a_mapping_reads_back_as_is_what_was_written(opensearch: RealOpenSearch) -> None:
    planned = provision.plan(opensearch.client(), OPTIONS)
    assert {step.state for step in planned.steps} == {State.OK}
    assert sum(step.kind == "index" for step in planned.steps) >= 13


def test_dry_run_shows_and_changes_nothing_and_says_by_its_exit_whether_there_is_anything(
    opensearch: RealOpenSearch,
) -> None:
    before = everything(opensearch)
    nothing = run(opensearch, "--dry-run")
    assert nothing.return_value == 0
    something = run(opensearch, "--dry-run", "--from", "2001-02", "--super-admin", "provision-nobody")
    assert something.return_value == 1
    assert "create   index        audit-events-2001.02" in something.stdout
    assert "gives it to provision-nobody" in something.stdout
    assert opensearch.url in something.stderr
    assert everything(opensearch) == before


def test_months_for_backfill_take_the_mapping_and_the_alias_from_the_template(opensearch: RealOpenSearch) -> None:
    then = parse_time("1993-01-10T00:00:00Z")  # a run of that time, so that its months are none of another test's
    options = Options(accounts=(provision.writer(),), clock=lambda: then)
    report = provision.provision(opensearch.client(), options)
    assert [step.name for step in report.done] == [template.index_name(m) for m in template.months(None, then)]
    found = opensearch.request("GET", "/audit-events-1993.01")["audit-events-1993.01"]
    assert found["aliases"] == {"audit-events": {}}
    assert found["mappings"]["dynamic"] == "false"


def test_something_foreign_stops_it_by_name_before_anything_is_changed(
    opensearch: RealOpenSearch, foreign_template: str
) -> None:
    before = everything(opensearch)
    with pytest.raises(Conflict, match=foreign_template):
        provision.provision(opensearch.client(), Options(first_month=(2002, 1), accounts=(provision.writer(),)))
    assert everything(opensearch) == before
    result = run(opensearch, "--from", "2002-01")
    assert isinstance(result.exception, Conflict)
    assert "conflict template     someone-elses" in result.stdout


def test_a_role_or_user_of_ours_that_is_someone_elses_is_a_conflict(opensearch: RealOpenSearch) -> None:
    stranger = opensearch.add_user().get("username") or ""
    options = Options(accounts=(provision.writer(stranger, "Aa1-" + secrets.token_urlsafe(20)),))
    planned = provision.plan(opensearch.client(), options)
    assert [step.name for step in planned.conflicts] == [stranger]


def test_first_super_admin_is_made_signs_in_and_a_new_password_file_renews_the_password(
    opensearch: RealOpenSearch, tmp_path: Path
) -> None:
    name, path = f"first-{secrets.token_hex(4)}", tmp_path / "secret"
    settings = opensearch.settings(name, path)
    for _ in range(2):
        path.write_text(f"Aa1-{secrets.token_urlsafe(20)}\n")
        first = run(opensearch, "--super-admin", name, "--super-admin-password-file", str(path))
        assert first.return_value == 0
        assert "write-once: yes" in first.stdout
        assert (
            name
            in opensearch.request("GET", "/_plugins/_security/api/rolesmapping", settings=settings)[
                "audit_super_admin"
            ]["users"]
        )
        assert (
            "nothing to do" in run(opensearch, "--super-admin", name, "--super-admin-password-file", str(path)).stderr
        )
    assert path.read_text().strip() not in first.stdout + first.stderr


def test_without_the_admin_certificate_it_says_what_is_needed(opensearch: RealOpenSearch) -> None:
    result = run(opensearch, "--dry-run", profile="local")
    assert isinstance(result.exception, NotAllowed)
    assert "admin certificate" in str(result.exception)
    with pytest.raises(NotAllowed, match="admin certificate"):
        provision.plan(opensearch.client(opensearch.super_admin), OPTIONS)


def test_write_once_is_probed_without_the_admin_certificate_and_leaves_nobody_behind(
    opensearch: RealOpenSearch,
) -> None:
    options = Options(accounts=(provision.writer(),), sign_in=provision.sign_in_with(opensearch.admin))
    assert provision.provision(opensearch.client(), options).write_once is WriteOnce.YES
    assert "auditpipe_probe" not in opensearch.request("GET", "/_plugins/_security/api/internalusers")
    assert writeonce.probe(opensearch.client(opensearch.add_user())) is WriteOnce.YES
    # The admin certificate passes write-once, and so reads like a cluster without it.
    assert writeonce.probe(opensearch.client()) is WriteOnce.NO


def test_write_once_that_does_not_hold_names_the_line_to_add() -> None:
    assert (
        'plugins.security.compliance.immutable_indices: ["audit-events-*", "audit-records*", "security-auditlog-*"]'
        in WriteOnce.NO.sentence
    )
    assert WriteOnce.NO.sentence.startswith("write-once: NO")


@pytest.mark.parametrize("name", ["*", "a*", "?", "/.*/", "", "a\nb", "a:b"])
def test_a_pattern_or_a_control_character_is_no_user_name(name: str) -> None:
    with pytest.raises(UsageError):
        provision.super_admin(name)


@pytest.mark.parametrize("first", ["2024", "2024-13", "1969-12", "٢٠٢٤-01", "9999-01"])
def test_from_takes_a_month(opensearch: RealOpenSearch, first: str) -> None:
    result = run(opensearch, "--dry-run", "--from", first)
    assert "expected a month" in str(result.exception)


def test_a_month_that_was_not_made_is_made_by_nobody_else(opensearch: RealOpenSearch) -> None:
    line = '{"create":{"_index":"audit-events-2099.01","_id":"x"}}\n{}\n'
    answer = opensearch.request("POST", "/_bulk", line, settings=opensearch.shipper)
    assert answer["items"][0]["create"]["error"]["type"] == "index_not_found_exception"


def test_two_runs_at_once_end_as_one(opensearch: RealOpenSearch) -> None:
    then = parse_time("1981-01-10T00:00:00Z")
    options = Options(accounts=(provision.writer(),), clock=lambda: then)
    client = opensearch.client()
    first, second = (provision.plan(client, options) for _ in range(2))
    assert first == second
    assert len(provision.apply(client, options, first).done) == 13
    provision.apply(client, options, second)
    assert provision.plan(client, options).changes == ()


class WithoutSecurity:
    """A cluster that answers Security's paths as one without the plugin does."""

    transport = property(lambda self: self)

    def perform_request(self, *_: Any, **__: Any) -> Any:
        raise RequestError(400, "no handler found for uri [/_plugins/_security/api/roles] and method [GET]", {})


def test_a_cluster_without_security_is_a_finding() -> None:
    client: Any = WithoutSecurity()
    with pytest.raises(Finding, match="no OpenSearch Security plugin"):
        provision.plan(client, OPTIONS)
