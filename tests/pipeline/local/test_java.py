"""The Java runtime, where the node can reach it."""

import os
import subprocess
from pathlib import Path

import pytest

from auditpipe.pipeline.local import java


def test_it_is_the_wheels_where_that_can_be_reached(monkeypatch, tmp_path):
    monkeypatch.setattr(java, "reachable", lambda _: True)
    assert java.java(tmp_path) == Path(java.JAVA_HOME) / "bin" / "java"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's node is someone else")
def test_it_is_copied_to_the_cache_where_not(monkeypatch, tmp_path):
    """A virtual environment below /root."""
    monkeypatch.setattr(java, "reachable", lambda _: False)
    program = java.java(tmp_path)
    assert program.is_relative_to(tmp_path)
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    assert f'"{".".join(map(str, java.JAVA_VERSION))}"' in said
    before = program.stat()
    assert java.java(tmp_path).stat() == before


def test_the_command_line_has_the_heap_the_agent_and_the_settings(tmp_path):
    (tmp_path / "agent").mkdir()
    for name in ("opensearch-agent-9.9.9.jar", "opensearch-agent-bootstrap-9.9.9.jar"):
        (tmp_path / "agent" / name).touch()
    line = java.command(Path("java"), tmp_path, tmp_path / "node", "768m", ["http.port=9200"])
    assert {"-Xms768m", "-Xmx768m", "-Ehttp.port=9200"} <= set(line)
    assert "-Dopensearch.xcontent.depth.max=100" in line, "a query nested deeper may end the node"
    assert f"-javaagent:{tmp_path}/agent/opensearch-agent-9.9.9.jar" in line
