"""What in a cluster is auditpipe's own: by its mark, never by its name alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from auditpipe.pipeline.cluster_settings import overlaps
from auditpipe.pipeline.plan import Request, State, Step

#: In `_meta` of our templates and of the mappings of our indices.
OWNER = {"managed_by": "auditpipe"}


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether an index template, or the mapping of an index, has our mark."""
    return bool(found.get("_meta", {}).get("managed_by") == OWNER["managed_by"])


def going_over(templates: Mapping[str, Any], prefix: str, priority: int) -> Iterator[tuple[str, list[str]]]:
    """Index templates that go over one of ours of this priority, and by which of their patterns."""
    for name, other in templates.items():
        patterns = [pattern for pattern in other.get("index_patterns", []) if overlaps(pattern, prefix)]
        if patterns and other.get("priority", 0) >= priority:
            yield name, patterns


def template_step(
    name: str, found: Mapping[str, Any] | None, differs: str, requests: tuple[Request, ...], *, made: str, same: str
) -> Step:
    """Make an index template of ours, or put right where it differs; what is someone else's is left alone.

    `differs`: in what, as a text; empty where in nothing. `made` and `same`: the sentences of one to be made and of one
    that is as wanted.
    """
    if found is None:
        return Step("template", name, State.CREATE, made, requests)
    if not is_ours(found):
        return Step("template", name, State.CONFLICT, f"an index template {name!r} that is not auditpipe's")
    if differs:
        return Step("template", name, State.UPDATE, f"differs in {differs}", requests)
    return Step("template", name, State.OK, same)
