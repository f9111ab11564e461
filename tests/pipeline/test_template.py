"""What the indices' side of a plan says about a cluster, without a cluster."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline import auditlog_template, cluster_settings, template
from auditpipe.pipeline.plan import State, Step
from auditpipe.pipeline.retention import index as records_index
from auditpipe.pipeline.template import Cluster, Sizes
from auditpipe.schemas.identity import INDEX_PREFIX, parse_time

NOW = parse_time("2026-11-23T10:00:00Z")


def as_read(body: dict[str, Any]) -> dict[str, Any]:
    """An index as OpenSearch gives it back with flat settings."""
    inner = copy.deepcopy(body["template"])
    return {"mappings": inner["mappings"], "settings": inner["settings"], "aliases": inner["aliases"]}


def cluster(**changed: Any) -> Cluster:
    """One that a first run has left."""
    body = template.template_body(None, Sizes())
    indices = {template.index_name(month): as_read(body) for month in template.months(None, NOW)}
    fields: dict[str, Any] = {
        **{"template": {**body, "composed_of": []}, "other_templates": {}, "indices": indices, "names": {}},
        "records": records_index.body(),
        "settings": {
            cluster_settings.AUTO_CREATE: {"defaults": "true", "persistent": "-audit-events-*,+*"},
            cluster_settings.OPEN_VIEWS: {"defaults": "300", "persistent": "10000"},
            cluster_settings.QUERY_LENGTH: {"defaults": "32000", "persistent": "1000"},
        },
    }
    return Cluster(**({"auditlog": auditlog_template.body()} | fields | changed))


def plan(found: Cluster, sizes: Sizes | None = None) -> dict[str, State]:
    steps = template.steps(found, sizes or Sizes(), template.months(None, NOW), NOW)
    return {f"{step.kind} {step.name}": step.state for step in steps if step.state is not State.OK}


def sentence(found: Cluster, name: str) -> str:
    return next(s.sentence for s in template.steps(found, Sizes(), template.months(None, NOW), NOW) if s.name == name)


def test_a_cluster_as_the_first_run_left_it_has_nothing_to_do() -> None:
    assert plan(cluster()) == {}


def test_an_empty_cluster_gets_the_setting_before_the_template_before_thirteen_months() -> None:
    found = Cluster(None, {}, {}, {}, {})
    steps = template.steps(found, Sizes(), template.months(None, NOW), NOW)
    assert [step.kind for step in steps] == ["setting", "setting", "setting", "template", "records", "template"] + [
        "index"
    ] * 13
    assert all(step.changes for step in steps)
    assert (steps[6].name, steps[-1].name) == ("audit-events-2026.11", "audit-events-2027.11")


def test_from_makes_every_month_since_then() -> None:
    months = template.months((2024, 1), NOW)
    assert (months[0], months[-1], len(months)) == ((2024, 1), (2027, 11), 35 + 12)
    assert template.months((2030, 1), NOW) == template.months(None, NOW)


def test_a_template_of_that_name_without_our_mark_is_a_conflict() -> None:
    assert plan(cluster(template={"index_patterns": ["audit-events-*"]}))["template audit-events"] is State.CONFLICT


def test_another_template_that_goes_over_ours_is_a_conflict_and_one_under_it_is_not() -> None:
    over = {"everything": {"index_patterns": ["*"], "priority": template.PRIORITY}}
    assert plan(cluster(other_templates=over)) == {
        "template everything": State.CONFLICT,
        "template security-auditlog": State.CONFLICT,
    }
    under = {"everything": {"index_patterns": ["*"]}, "logs": {"index_patterns": ["logs-*"], "priority": 9999}}
    assert plan(cluster(other_templates=under)) == {}


def test_a_template_that_was_changed_is_put_right_and_the_path_is_named() -> None:
    current = copy.deepcopy(dict(cluster().template or {}))
    current["template"]["mappings"]["properties"]["user"]["properties"]["id"]["ignore_above"] = 10
    found = cluster(template=current)
    assert plan(found) == {"template audit-events": State.UPDATE}
    assert "template.mappings.properties.user.properties.id.ignore_above" in sentence(found, "audit-events")


def changed_index(name: str, change: Any) -> Cluster:
    indices = copy.deepcopy(dict(cluster().indices))
    indices.setdefault(name, copy.deepcopy(indices["audit-events-2026.11"]))
    change(indices[name])
    return cluster(indices=indices)


def test_an_index_under_our_name_without_our_mark_is_a_conflict_also_one_that_is_no_month() -> None:
    for name in ("audit-events-2026.12", "audit-events-2020.01", "audit-events-mine"):
        found = changed_index(name, lambda index: index["mappings"].pop("_meta"))
        assert plan(found) == {f"index {name}": State.CONFLICT}


def test_another_type_in_a_month_to_come_is_a_conflict_in_an_old_month_it_is_told() -> None:
    def as_text(index: dict[str, Any]) -> None:
        index["mappings"]["properties"]["user"]["properties"]["id"] = {"type": "text"}

    assert plan(changed_index("audit-events-2026.12", as_text)) == {"index audit-events-2026.12": State.CONFLICT}
    old = changed_index("audit-events-2026.10", as_text)
    assert plan(old) == {}
    assert "properties.user.properties.id" in sentence(old, "audit-events-2026.10")


def test_a_field_that_a_month_lacks_is_added() -> None:
    found = changed_index("audit-events-2026.11", lambda index: index["mappings"]["properties"].pop("host"))
    assert plan(found) == {"index audit-events-2026.11": State.UPDATE}


def test_a_month_without_the_alias_gets_it() -> None:
    assert plan(changed_index("audit-events-2026.11", lambda i: i["aliases"].clear())) == {
        "index audit-events-2026.11": State.UPDATE
    }


@pytest.mark.parametrize(
    "names",
    [
        {"audit-events": "index"},
        {"audit-events-2026.11": "data stream"},
        {"audit-events": "alias of elsewhere, audit-events-2026.11"},
        {"audit-events-all": "alias of audit-events-2026.11"},
    ],
)
def test_our_names_on_something_else_are_a_conflict(names: dict[str, str]) -> None:
    assert list(plan(cluster(names=names)).values()) == [State.CONFLICT]


def test_our_alias_on_our_months_is_none() -> None:
    assert plan(cluster(names={"audit-events": "alias of audit-events-2026.11"})) == {}


def test_replicas_go_to_this_and_later_months_and_stay_when_not_asked_again() -> None:
    changes = plan(cluster(), Sizes(replicas=2))
    assert changes["index audit-events-2026.11"] is State.UPDATE
    assert changes["template audit-events"] is State.UPDATE
    kept = template.template_body(template.template_body(None, Sizes(shards=3, replicas=2)), Sizes())
    assert kept["template"]["settings"]["index.number_of_replicas"] == "2"
    assert kept["template"]["settings"]["index.number_of_shards"] == "3"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("true", "-audit-events-*,+*"),
        ("+logs-*,-*", None),
        ("logs-*", None),
        ("false", None),
        ("-audit-*,+*", None),
        ("-audit-events-2026*,+*", "-audit-events-*,-audit-events-2026*,+*"),
        ("+audit*,-*", "-audit-events-*,+audit*,-*"),
        ("+*,-audit-events-*", "-audit-events-*,+*,-audit-events-*"),
    ],
)
def test_auto_creation_keeps_what_was_there_and_excludes_the_months(found: str, wanted: str | None) -> None:
    steps = template.steps(cluster(settings={cluster_settings.AUTO_CREATE: {"defaults": found}}), Sizes(), [], NOW)
    setting = next(step for step in steps if step.kind == "setting")
    if wanted is None:
        assert setting.state is State.OK
    else:
        assert setting.requests[0].body == {"persistent": {"action.auto_create_index": wanted}}


@pytest.mark.parametrize(("found", "changes"), [("300", True), ("9999", True), ("10000", False), ("50000", False)])
def test_room_for_many_readers_of_many_months_is_made_and_more_is_kept(found: str, changes: bool) -> None:
    (step,) = (s for s in _settings(cluster_settings.OPEN_VIEWS, found) if s.name == cluster_settings.OPEN_VIEWS)
    assert step.changes is changes


@pytest.mark.parametrize(("found", "changes"), [("32000", True), ("1001", True), ("1000", False), ("200", False)])
def test_a_query_text_that_could_end_the_node_is_refused_and_a_lower_limit_is_kept(found: str, changes: bool) -> None:
    (step,) = (s for s in _settings(cluster_settings.QUERY_LENGTH, found) if s.name == cluster_settings.QUERY_LENGTH)
    assert step.changes is changes


def _settings(name: str, persistent: str) -> list[Step]:
    return template.steps(cluster(settings={name: {"persistent": persistent}}), Sizes(), [], NOW)


def test_a_transient_setting_goes_over_a_persistent_one_and_so_is_changed_too() -> None:
    found = cluster(settings={cluster_settings.AUTO_CREATE: {"persistent": "-audit-events-*,+*", "transient": "true"}})
    setting = template.steps(found, Sizes(), [], NOW)[0]
    assert set(setting.requests[0].body) == {"persistent", "transient"}


def allows(value: str, name: str) -> bool:
    """OpenSearch's rule, straight: the first expression that matches decides (AutoCreateIndex.java)."""
    from fnmatch import fnmatchcase

    if value in ("true", "false"):
        return value == "true"
    for entry in value.split(","):
        if fnmatchcase(name, entry.lstrip("+-")):
            return not entry.startswith("-")
    return False


EXPRESSIONS = st.builds(
    lambda sign, pattern: sign + pattern,
    st.sampled_from(["", "+", "-"]),
    st.sampled_from(["*", "a*", "audit-*", "audit-events-*", "audit-events-2026.11", "logs-*", "audit-events-2*"]),
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4).map(",".join))
def test_what_is_said_to_exclude_the_months_lets_nobody_create_one(value: str) -> None:
    months = [f"{INDEX_PREFIX}{year}.{month:02d}" for year in (1970, 2026, 2106) for month in (1, 11)]
    if cluster_settings.excludes_months(value):
        assert not any(allows(value, name) for name in months)
    assert cluster_settings.excludes_months(f"-audit-events-*,{value}")
