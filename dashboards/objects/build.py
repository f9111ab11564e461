"""Every saved object, and the file that holds them."""

from importlib import resources

from auditpipe.dashboards.objects import boards, charts, queries, searches
from auditpipe.dashboards.objects.pattern import index_pattern
from auditpipe.dashboards.objects.saved import SavedObject, ndjson, parse
from auditpipe.schemas import events_document
from auditpipe.schemas.catalogue import Catalogue, builtin

#: Generated, in the package: what `import` sends and anyone can import by hand.
GENERATED = "saved-objects.ndjson"


def build(catalogue: Catalogue | None = None) -> tuple[SavedObject, ...]:
    """All of them, what is referred to before what refers to it; the same each time."""
    found = events_document.searches(catalogue or builtin())
    return (
        index_pattern(),
        *map(searches.saved_search, searches.SEARCHES),
        *map(charts.visualization, charts.CHARTS),
        *map(charts.controls, charts.CONTROLS),
        *map(boards.dashboard, boards.BOARDS),
        *map(queries.saved_query, found),
    )


def generate() -> str:
    """The content of the generated file."""
    return ndjson(build())


def load() -> tuple[SavedObject, ...]:
    """The objects of the generated file."""
    content = resources.files("auditpipe.dashboards.objects").joinpath(GENERATED).read_text(encoding="utf-8")
    return parse(content, GENERATED)
