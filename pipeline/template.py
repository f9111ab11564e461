"""The indices' side of provisioning: template, months, alias, and no automatic creation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import auditlog_template, cluster_settings, rest
from auditpipe.pipeline.ownership import OWNER, going_over, is_ours, template_step
from auditpipe.pipeline.plan import Request, State, Step
from auditpipe.pipeline.retention import index as records_index
from auditpipe.pipeline.retention import ledger
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.schemas import mapping
from auditpipe.schemas.identity import ALIAS, INDEX_PATTERN, INDEX_PREFIX, RECORDS_INDEX, month_of

TEMPLATE = ALIAS
PRIORITY = auditlog_template.PRIORITY
#: Made ahead of the running month, so that a year without provisioning stops nothing.
MONTHS_AHEAD = 12

Month = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Shards and copies of each month; None: as the template has it, else one shard and a copy where there is room."""

    shards: int | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was read before anything is planned."""

    template: Mapping[str, Any] | None
    other_templates: Mapping[str, Any]
    indices: Mapping[str, Any]
    names: Mapping[str, str]
    settings: Mapping[str, Mapping[str, str]]
    #: The index of records, None where there is none, and the months that it says retention removed.
    records: Mapping[str, Any] | None = None
    removed: Mapping[str, str] = field(default_factory=dict)
    #: The template of the node's own audit log, and its days.
    auditlog: Mapping[str, Any] | None = None
    days: Mapping[str, Any] = field(default_factory=dict)


def read(client: OpenSearch) -> Cluster:
    """Read template, indices, whatever else has our names, and the settings."""
    listed = rest.get(client, "/_index_template") or {}
    templates = {row["name"]: row["index_template"] for row in listed.get("index_templates", [])}
    named = rest.get(client, f"/_resolve/index/{ALIAS},{INDEX_PATTERN}", expand_wildcards="all") or {}
    settings = rest.get(client, "/_cluster/settings", include_defaults="true", flat_settings="true") or {}
    return Cluster(
        template=templates.pop(TEMPLATE, None),
        auditlog=templates.pop(auditlog_template.TEMPLATE, None),
        days=rest.get(client, f"/{WHO_LOOKED_PATTERN}", expand_wildcards="all") or {},
        other_templates=templates,
        indices=rest.get(client, f"/{INDEX_PATTERN}", expand_wildcards="all", flat_settings="true") or {},
        names=dict(_kinds(named)),
        settings=cluster_settings.layers(settings),
        records=(rest.get(client, f"/{RECORDS_INDEX}") or {}).get(RECORDS_INDEX),
        removed=dict(_removed(client)),
    )


def months(first: Month | None, now_ns: int) -> list[Month]:
    """From `first`, or the month of `now_ns`, to twelve after the month of `now_ns`."""
    start = _count(month_of(now_ns))
    begin = min(start, _count(first)) if first else start
    return [(n // 12, n % 12 + 1) for n in range(begin, start + MONTHS_AHEAD + 1)]


def index_name(month: Month) -> str:
    """`audit-events-2026.11`."""
    return f"{INDEX_PREFIX}{month[0]:04d}.{month[1]:02d}"


def steps(cluster: Cluster, sizes: Sizes, wanted: list[Month], now_ns: int) -> list[Step]:
    """The setting before the months, so that no writer makes one first; the template before them too."""
    return [
        *cluster_settings.steps(cluster.settings),
        *_foreign_names(cluster.names),
        _template(cluster, sizes),
        _records(cluster),
        _auditlog(cluster),
        *_months(cluster, sizes, wanted, index_name(month_of(now_ns))),
    ]


def template_body(current: Mapping[str, Any] | None, sizes: Sizes) -> dict[str, Any]:
    """The index template, complete."""
    content = mapping.load()
    return {
        "index_patterns": [INDEX_PATTERN],
        "priority": PRIORITY,
        "template": {
            "settings": flat(content["settings"]) | _size_settings(current, sizes),
            "mappings": {**content["mappings"], "_meta": OWNER},
            "aliases": {ALIAS: {}},
        },
        "_meta": OWNER,
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as OpenSearch gives them back with `flat_settings`: dotted names, values as strings."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = [str(v) for v in value] if isinstance(value, list) else _text(value)
    return result


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """The dotted paths at which two mappings differ, apart from how OpenSearch writes them."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key in sorted({*wanted, *found}):
            # `object` is what anything with properties is: OpenSearch leaves it out.
            if key == "type" and wanted.get(key, "object") == found.get(key, "object") == "object":
                continue
            yield from differences(wanted.get(key), found.get(key), f"{path}.{key}" if path else str(key))
    elif _text(wanted) != _text(found):
        yield path


def _template(cluster: Cluster, sizes: Sizes) -> Step:
    current, body = cluster.template, template_body(cluster.template, sizes)
    if over := next(going_over(cluster.other_templates, INDEX_PREFIX, PRIORITY), None):
        name, patterns = over
        sentence = f"index template {name!r} ({', '.join(patterns)}) goes over ours: lower its priority"
        return Step("template", name, State.CONFLICT, sentence)
    put = (Request("PUT", f"/_index_template/{TEMPLATE}", body),)
    differs = "" if current is None else _few(list(differences(body, _as_written(current))))
    made, same = f"mapping, settings and alias of {INDEX_PATTERN}", f"{INDEX_PATTERN} as wanted"
    return template_step(TEMPLATE, current, differs, put, made=made, same=same)


def _records(cluster: Cluster) -> Step:
    wanted = records_index.body()["mappings"]
    found = cluster.records
    return records_index.step(found, [] if found is None else list(differences(wanted, found.get("mappings", {}))))


def _auditlog(cluster: Cluster) -> Step:
    if (other := auditlog_template.conflict(cluster.other_templates)) is not None:
        sentence = f"index template {other!r} goes over ours for {WHO_LOOKED_PATTERN}: lower its priority"
        return Step("template", auditlog_template.TEMPLATE, State.CONFLICT, sentence)
    found = cluster.auditlog
    differing = [] if found is None else list(differences(auditlog_template.body(), _as_written(found)))
    return auditlog_template.step(found, differing, cluster.days)


def _removed(client: OpenSearch) -> Iterator[tuple[str, str]]:
    """(index, when it was removed and by which record)."""
    for _, document in ledger.find(client, ledger.of_kinds("month_removed")):
        name = INDEX_PREFIX + str(document.get("month")).replace("-", ".")
        yield name, f"removed by retention on {document.get('@timestamp')}, record {document.get('record')}"


def _as_written(current: Mapping[str, Any]) -> dict[str, Any]:
    """A template as it was put: OpenSearch adds an empty `composed_of` and nests the settings."""
    inner = dict(current.get("template") or {})
    inner["settings"] = flat(inner.get("settings") or {})
    return {key: value for key, value in current.items() if key != "composed_of"} | {"template": inner}


def _months(cluster: Cluster, sizes: Sizes, wanted: list[Month], running: str) -> Iterator[Step]:
    names = {index_name(month) for month in wanted}
    body = template_body(cluster.template, sizes)["template"]
    for name in sorted(names | set(cluster.indices)):
        if name not in cluster.indices and name in cluster.removed and name < running:
            yield Step("index", name, State.OK, f"{cluster.removed[name]}: not made again")
        elif name not in cluster.indices:
            yield Step("index", name, State.CREATE, "by the template", (Request("PUT", f"/{name}"),))
        else:
            yield _existing(name, cluster.indices[name], body, sizes, old=name < running)


def _existing(name: str, found: Mapping[str, Any], body: Mapping[str, Any], sizes: Sizes, *, old: bool) -> Step:
    mappings = found.get("mappings", {})
    if not is_ours(mappings):
        return Step("index", name, State.CONFLICT, "an index under our name that auditpipe did not make")
    changed = list(differences(body["mappings"], mappings))
    if changed and old:
        return Step("index", name, State.OK, f"an old month with another mapping, left so: {_few(changed)}")
    if changed and not all(_is_added(path, mappings) for path in changed):
        return Step("index", name, State.CONFLICT, f"mapping differs in {_few(changed)}")
    requests, what = [], []
    if changed:
        requests.append(Request("PUT", f"/{name}/_mapping", body["mappings"]))
        what.append(f"fields added: {_few(changed)}")
    if ALIAS not in found.get("aliases", {}):
        action = {"actions": [{"add": {"index": name, "alias": ALIAS}}]}
        requests.append(Request("POST", "/_aliases", action))
        what.append(f"alias {ALIAS}")
    copies = _size_settings(None, Sizes(replicas=sizes.replicas)) if sizes.replicas is not None and not old else {}
    copies.pop("index.number_of_shards", None)
    if any(found.get("settings", {}).get(key) != value for key, value in copies.items()):
        requests.append(Request("PUT", f"/{name}/_settings", copies))
        what.append(f"{sizes.replicas} replicas")
    if requests:
        return Step("index", name, State.UPDATE, "; ".join(what), tuple(requests))
    return Step("index", name, State.OK, "as wanted")


def _is_added(path: str, mappings: Mapping[str, Any]) -> bool:
    """Whether this difference is a field that the index does not have yet."""
    keys, here = path.split("."), mappings
    for position, key in enumerate(keys):
        if key not in here:
            return position > 0 and keys[position - 1] == "properties"
        here = here[key]
    return False


def _foreign_names(names: Mapping[str, str]) -> Iterator[Step]:
    """A name of ours that is something else: another kind of thing, or an alias that leads elsewhere."""
    for name, kind in sorted(names.items()):
        if kind == "index" and name == ALIAS:
            yield Step("alias", name, State.CONFLICT, f"an index has the name {ALIAS}, which is our alias")
        elif kind == "data stream":
            yield Step("alias", name, State.CONFLICT, "a data stream under our name")
        elif kind.startswith("alias of "):
            elsewhere = [i for i in kind.removeprefix("alias of ").split(", ") if not i.startswith(INDEX_PREFIX)]
            if elsewhere or name != ALIAS:
                yield Step("alias", name, State.CONFLICT, f"an alias under our name leads to {_few(elsewhere)}")


def _size_settings(current: Mapping[str, Any] | None, sizes: Sizes) -> dict[str, str]:
    old = flat(((current or {}).get("template") or {}).get("settings") or {})
    shards = str(sizes.shards) if sizes.shards is not None else old.get("index.number_of_shards", "1")
    if sizes.replicas is not None:
        copies = {"index.number_of_replicas": str(sizes.replicas), "index.auto_expand_replicas": "false"}
    elif "index.number_of_replicas" in old:
        copies = {
            "index.number_of_replicas": old["index.number_of_replicas"],
            "index.auto_expand_replicas": old.get("index.auto_expand_replicas", "false"),
        }
    else:
        # None on a single node, which would be yellow for ever; one as soon as there is a second.
        copies = {"index.auto_expand_replicas": "0-1"}
    return {"index.number_of_shards": shards, **copies}


def _kinds(resolved: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, what it is) of the answer of `_resolve/index`."""
    for row in resolved.get("indices", []):
        yield row["name"], "index"
    for row in resolved.get("data_streams", []):
        yield row["name"], "data stream"
    for row in resolved.get("aliases", []):
        yield row["name"], "alias of " + ", ".join(row.get("indices", []))


def _count(month: Month) -> int:
    return month[0] * 12 + month[1] - 1


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
