"""`python -m auditpipe.cli.generate [--check]`: write every generated file, or say which are stale.

The JSON Schemas and the index mappings come from the models, docs/events.md from the catalogue, docs/cli.md from the
commands, the table in docs/settings.md from the settings, the one in docs/privacy.md from the classes of the fields,
dashboards/objects/saved-objects.ndjson from the code beside it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditpipe.cli import reference, settings_document
from auditpipe.dashboards.objects import build
from auditpipe.schemas import events_document, mapping, privacy_document, published
from auditpipe.schemas.catalogue import builtin

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "schemas"
#: Documents with one generated table.
_TABLES = {"settings.md": settings_document.with_table, "privacy.md": privacy_document.with_table}


def generated() -> Iterator[tuple[Path, str]]:
    """Each generated file, and what it must hold."""
    yield SCHEMAS / published.EVENT, _json(published.generate(published.EVENT))
    yield SCHEMAS / published.DRAFT, _json(published.generate(published.DRAFT))
    yield SCHEMAS / mapping.GENERATED, _json(mapping.generate())
    yield SCHEMAS / mapping.RECORDS_GENERATED, _json(mapping.generate_records())
    yield ROOT / "docs" / "events.md", events_document.markdown(builtin())
    yield ROOT / "docs" / "cli.md", reference.markdown()
    for name, with_table in _TABLES.items():
        path = ROOT / "docs" / name
        yield path, with_table(path.read_text(encoding="utf-8"))
    yield ROOT / "dashboards" / "objects" / build.GENERATED, build.generate()


def stale() -> list[Path]:
    """Generated files that are not what the code makes."""
    return [path for path, text in generated() if not path.exists() or path.read_text(encoding="utf-8") != text]


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write, or with --check only compare; 1 if something is stale."""
    old = stale()
    for path in old:
        sys.stderr.write(f"{path.relative_to(ROOT)}: stale\n")
    if "--check" in arguments:
        return 1 if old else 0
    for path, text in generated():
        if path in old:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
