"""The cluster settings that audit events need: no automatic creation, room for readers, no query that ends a node."""

from collections.abc import Iterator, Mapping
from typing import Any

from auditpipe.pipeline.plan import Request, State, Step
from auditpipe.pipeline.query import MAX_LUCENE
from auditpipe.schemas.identity import INDEX_PATTERN, INDEX_PREFIX

AUTO_CREATE = "action.auto_create_index"
#: A point in time over all months opens one view for each of their shards, and a node's 300 are soon spent.
OPEN_VIEWS = "search.max_open_pit_context"
MOST_OPEN_VIEWS = 10_000
#: The parser of `query_string` calls itself for each parenthesis: of 3000 the stack overflows, and that ends the node.
#: What else a query may nest is limited by the JVM's property `opensearch.xcontent.depth.max`, which no API sets.
QUERY_LENGTH = "search.query.max_query_string_length"

#: A setting's layers and values, such as {"defaults": "300", "persistent": "10000"}.
Found = Mapping[str, str]


def layers(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Where each of our settings is set, and to what, of the flat answer of `_cluster/settings`."""
    return {
        name: {
            layer: str(settings[layer][name])
            for layer in ("transient", "persistent", "defaults")
            if name in settings.get(layer, {})
        }
        for name in (AUTO_CREATE, OPEN_VIEWS, QUERY_LENGTH)
    }


def steps(found: Mapping[str, Found]) -> Iterator[Step]:
    """What is set, and what is to be."""
    yield _auto_create(found.get(AUTO_CREATE, {}))
    yield _open_views(found.get(OPEN_VIEWS, {}))
    yield _query_length(found.get(QUERY_LENGTH, {}))


def excludes_months(value: str) -> bool:
    """Whether `action.auto_create_index` lets nobody create a month: the first pattern that matches decides."""
    if value in ("true", "false"):
        return value == "false"
    for entry in (part.strip() for part in value.strip("[]").split(",")):
        pattern = entry.lstrip("+-")
        if entry.startswith("-") and pattern.endswith("*") and INDEX_PREFIX.startswith(pattern[:-1]):
            return True
        if not entry.startswith("-") and overlaps(pattern):
            return False
    return True  # a list that does not name it does not allow it


def overlaps(pattern: str, prefix: str = INDEX_PREFIX) -> bool:
    """Whether a pattern could match a month, or what else begins so. Says yes too often rather than too seldom."""
    start, star, _ = pattern.partition("*")
    return start.startswith(prefix) or (bool(star) and prefix.startswith(start))


def _effective(found: Found, default: str) -> str:
    return found.get("transient", found.get("persistent", found.get("defaults", default)))


def _set(name: str, value: str, found: Found) -> Step:
    # Transient goes over persistent: both have to say it where somebody set the first.
    where = ["persistent", *(["transient"] if "transient" in found else [])]
    request = Request("PUT", "/_cluster/settings", {layer: {name: value} for layer in where})
    return Step("setting", name, State.UPDATE, f"{_effective(found, 'unset')} -> {value}", (request,))


def _auto_create(found: Found) -> Step:
    effective = _effective(found, "true")
    if excludes_months(effective):
        return Step("setting", AUTO_CREATE, State.OK, f"{INDEX_PATTERN} is excluded ({effective})")
    rest_of_it = "+*" if effective == "true" else effective
    return _set(AUTO_CREATE, f"-{INDEX_PATTERN},{rest_of_it}", found)


def _open_views(found: Found) -> Step:
    effective = _effective(found, "300")
    if int(effective) >= MOST_OPEN_VIEWS:
        return Step("setting", OPEN_VIEWS, State.OK, f"{effective}, enough for many readers of many months")
    return _set(OPEN_VIEWS, str(MOST_OPEN_VIEWS), found)


def _query_length(found: Found) -> Step:
    effective = _effective(found, "32000")
    if int(effective) <= MAX_LUCENE:
        return Step("setting", QUERY_LENGTH, State.OK, f"{effective}, too short to overflow a stack")
    return _set(QUERY_LENGTH, str(MAX_LUCENE), found)
