"""The pinned list: whole, unambiguous, and inside the node's folder."""

import re
from collections import Counter
from pathlib import PurePosixPath

from auditpipe.pipeline.local.artifacts import read_lock, sha256_of


def test_each_file_has_a_checksum_a_size_and_a_place():
    for artifact in read_lock().artifacts:
        assert re.fullmatch("[0-9a-f]{64}", artifact.sha256)
        assert artifact.size > 0
        assert artifact.into


def test_no_two_files_meet_in_one_place():
    """Two versions of a jar in one folder would be chosen between by the order of a directory."""
    places = Counter((folder, a.group, a.artifact) for a in read_lock().artifacts for folder in a.into)
    names = Counter((folder, a.file_name) for a in read_lock().artifacts for folder in a.into)
    assert max(places.values()) == 1
    assert max(names.values()) == 1


def test_no_place_leads_out_of_the_node():
    for artifact in read_lock().artifacts:
        for folder in artifact.into:
            path = PurePosixPath(folder)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert path.parts[0] in {"lib", "agent", "modules", "plugins"}


def test_no_jar_of_a_module_is_in_lib_too():
    """OpenSearch refuses to start on that ("jar hell")."""
    in_lib = {(a.group, a.artifact) for a in read_lock().artifacts if "lib" in a.into}
    for artifact in read_lock().artifacts:
        if any(folder.startswith("modules/") for folder in artifact.into):
            assert (artifact.group, artifact.artifact) not in in_lib


def test_each_module_has_a_descriptor_and_a_jar():
    lock = read_lock()
    folders = {folder for artifact in lock.artifacts for folder in artifact.into}
    assert {f"modules/{name}" for name in lock.modules} == {f for f in folders if f.startswith("modules/")}
    for name, properties in lock.modules.items():
        assert properties["name"] == name
        assert properties["opensearch.version"] == lock.version


def test_all_of_opensearch_is_of_one_version():
    lock = read_lock()
    ours = {a.version for a in lock.artifacts if a.group == "org.opensearch"}
    plugins = {a.version for a in lock.artifacts if a.group == "org.opensearch.plugin"}
    assert ours == {lock.version}
    assert plugins == {lock.version, f"{lock.version}.0"}  # Security counts one place more


def test_sha256_is_that_of_the_content(tmp_path):
    """FIPS 180-4, appendix: "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
