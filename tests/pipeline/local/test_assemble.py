"""The node's folder: whole or not at all, and made of what is in the cache."""

import pytest

from auditpipe.pipeline.local.assemble import assemble, distribution
from auditpipe.pipeline.local.download import cached, fetch, missing
from auditpipe.schemas.errors import Finding

from .conftest import make_artifact, make_lock, security_zip


@pytest.fixture
def node(tmp_path, lock, registry):
    fetch(tmp_path, missing(tmp_path, lock))
    return assemble(tmp_path, lock)


def tree(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_in_its_place(node):
    assert tree(node) == {
        "lib/core-1.0.jar",
        "lib/both-1.0.jar",
        "agent/agent-1.0.jar",
        "modules/geo/geo-1.0.jar",
        "modules/geo/plugin-descriptor.properties",
        "plugins/opensearch-security/both-1.0.jar",
        "plugins/opensearch-security/security.jar",
        "plugins/opensearch-security/plugin-descriptor.properties",
    }


def test_the_plugins_demo_users_are_not_unpacked(node):
    assert not list(node.rglob("internal_users.yml"))


def test_the_plugin_extends_nothing_that_is_not_published(node):
    descriptor = node / "plugins/opensearch-security/plugin-descriptor.properties"
    assert descriptor.read_text() == "name=security\n"


def test_a_second_time_nothing_is_made(node, tmp_path, lock):
    before = node.stat()
    assert assemble(tmp_path, lock) == node
    assert node.stat() == before


def test_a_node_that_links_to_a_damaged_file_is_made_anew(node, tmp_path, lock, registry):
    cached(tmp_path, lock.artifacts[0]).write_bytes(b"evil")
    fetch(tmp_path, missing(tmp_path, lock))
    assemble(tmp_path, lock)
    assert (node / "lib/core-1.0.jar").read_bytes() == b"core"


def test_a_node_that_lacks_a_file_is_made_anew(node, tmp_path, lock):
    (node / "modules/geo/geo-1.0.jar").unlink()
    assert "modules/geo/geo-1.0.jar" in tree(assemble(tmp_path, lock))


@pytest.mark.parametrize("name", ["../evil.jar", "/tmp/evil.jar", "config/../../evil.jar"])
def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path, registry, name):
    content = security_zip(name)
    registry.content["security-1.0.zip"] = content
    lock = make_lock(make_artifact("security", content, "plugins/opensearch-security", packaging="zip"))
    fetch(tmp_path, missing(tmp_path, lock))
    with pytest.raises(Finding, match="outside"):
        assemble(tmp_path, lock)
    assert not distribution(tmp_path, lock).exists()
    assert not list(tmp_path.rglob("evil.jar"))
