"""The index of records, as provisioning makes it."""

from collections.abc import Mapping
from typing import Any

from auditpipe.pipeline.ownership import OWNER, is_ours
from auditpipe.pipeline.plan import Request, State, Step
from auditpipe.schemas import mapping
from auditpipe.schemas.identity import RECORDS_INDEX


def body() -> dict[str, Any]:
    """Settings and strict mapping: nobody but auditpipe writes there."""
    content = mapping.load_records()
    return {"settings": content["settings"], "mappings": {**content["mappings"], "_meta": OWNER}}


def step(found: Mapping[str, Any] | None, differing: list[str]) -> Step:
    """Make it, or add the fields that it lacks. `differing`: the dotted paths at which its mapping differs."""
    if found is None:
        return Step(
            "records", RECORDS_INDEX, State.CREATE, "of retention and holds", (Request("PUT", _path(), body()),)
        )
    if not is_ours(found.get("mappings", {})):
        return Step("records", RECORDS_INDEX, State.CONFLICT, "an index of this name that auditpipe did not make")
    if differing:
        put = (Request("PUT", f"{_path()}/_mapping", body()["mappings"]),)
        return Step("records", RECORDS_INDEX, State.UPDATE, f"differs in {', '.join(differing[:5])}", put)
    return Step("records", RECORDS_INDEX, State.OK, "of retention and holds")


def _path() -> str:
    return f"/{RECORDS_INDEX}"
