"""docs/backup.md on real nodes: a snapshot of one, restored to a fresh one, is sound there."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearchpy.exceptions import AuthorizationException

from auditpipe.pipeline.local import cluster, node
from auditpipe.pipeline.local import stack as local
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.node import NodeOptions
from auditpipe.schemas.identity import SECOND, index_of, parse_time
from tests.builders import stream
from tests.conftest import QUICK_SIGN_IN, RealOpenSearch, free_port
from tests.stored import organization, run, store

pytestmark = pytest.mark.opensearch

DOCUMENT = Path(__file__).parents[2] / "docs" / "backup.md"


def say(node: RealOpenSearch, section: str, snapshot: str) -> list[Any]:
    """Do what this section of the document says with `os`, and return the answers. Its names stand for `snapshot`."""
    text = DOCUMENT.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    [block] = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    answers = []
    for line in re.split(r"\n(?=os |auditpipe )", block.replace("\\\n", " ")):
        words = shlex.split(
            line.replace("$(date -u +%Y%m%d-%H%M%S)", snapshot).replace("NAME", snapshot), comments=True
        )
        if words[:1] == ["os"]:
            given = dict(zip(words[2::2], words[3::2], strict=True))
            body = json.loads(given["--data"]) if "--data" in given else None
            answers.append(node.request(given.get("--request", "GET"), words[1], body))
    return answers


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A folder of a second node, which does not run yet."""
    home = Home(tmp_path_factory.mktemp("restored") / "home")
    home.make()
    yield home
    local.down(home)
    shutil.rmtree(home.opensearch.resolve())


def test_what_is_restored_on_a_fresh_node_is_sound(opensearch: RealOpenSearch, fresh: Home) -> None:
    acme = organization()
    documents = store(opensearch, stream(40, organization__id=acme, step_ns=86_400 * SECOND))
    assert len({index_of(parse_time(one["@timestamp"])) for one in documents}) > 1
    try:
        _, taken, listed = say(opensearch, "Take", "first")
        assert (taken["snapshot"]["state"], taken["snapshot"]["shards"]["failed"]) == ("SUCCESS", 0)
        assert [one["snapshot"] for one in listed["snapshots"]] == ["first"]
        copy_repository(Home(opensearch.home), fresh)
    finally:
        opensearch.request("DELETE", "/_snapshot/audit/first")
        opensearch.request("DELETE", "/_snapshot/audit")

    made = cluster.ensure(fresh, NodeOptions(free_port(), "512m", (QUICK_SIGN_IN,)))
    forward = f"127.0.0.1:{free_port()}"
    cluster.write_profiles(fresh, made, forward)
    restored = RealOpenSearch(made.url, fresh.root)
    for answer in say(restored, "Restore", "first")[-2:]:
        assert answer["snapshot"]["shards"]["failed"] == 0
    cluster.provision(fresh, made, forward)

    verified = run("verify", "--org", acme, env=restored.environment())
    assert (verified.code, verified.said.partition(":")[0]) == (0, "sound"), verified.err
    shown = run("search", "--org", acme, "--limit", "100", "-o", "ndjson", env=restored.environment())
    assert sorted(shown.documents, key=lambda one: one["audit"]["sequence"]) == documents
    for user in (restored.super_admin, restored.shipper):
        for method, path in (("GET", "_all"), ("POST", "first/_restore"), ("DELETE", "first")):
            with pytest.raises(AuthorizationException):
                restored.request(method, f"/_snapshot/audit/{path}", settings=user)
    looked_at = json.loads(run("doctor", "-o", "json", env=restored.environment("operator")).out)
    assert {"write-once", "template", "index"} <= {one["name"] for one in looked_at if one["level"] == "ok"}


def copy_repository(source: Home, target: Home) -> None:
    """What `cp -a` does, with the node's user as the owner."""
    there = target.opensearch.resolve() / node.SNAPSHOTS
    shutil.copytree(source.opensearch.resolve() / node.SNAPSHOTS / "audit", there / "audit")
    user = node.owner()
    if user is not None:
        for path in (there, *there.rglob("*")):
            os.chown(path, user, user)
