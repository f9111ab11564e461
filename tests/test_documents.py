"""What README and docs show works as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from auditpipe.cli import generate
from tests.stored import run

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{path.name}-{index}", text)
        for path in DOCUMENTS
        for index, (kind, text) in enumerate(BLOCK.findall(path.read_text(encoding="utf-8")))
        if kind == language
    ]


@pytest.mark.parametrize(("name", "code"), blocks("python"), ids=lambda value: value if "-" in value[:40] else "")
def test_python_examples_run(name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITPIPE_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("AUDITPIPE_FORWARD", "127.0.0.1:1")
    exec(compile(code, name, "exec"), {"__name__": name})


@pytest.mark.opensearch
def test_every_command_of_the_readme_runs_as_it_stands(stack, tmp_path, monkeypatch) -> None:
    """In their order, on a stack as the demo leaves it. `doctor` may find that a test's node is small, and `verify`
    what other tests have planted on it."""
    monkeypatch.chdir(tmp_path)
    lines = [line[2:] for name, text in blocks("console") if name.startswith("README") for line in text.splitlines()]
    assert len(lines) > 8
    environment = {"AUDITPIPE_HOME": str(stack.home), "AUDITPIPE_SPOOL_DIR": str(tmp_path / "spool")}
    for line in lines:
        done = run(*shlex.split(line)[1:], env=environment)
        assert done.code in ((0, 1) if line.split()[1] in ("doctor", "verify") else (0,)), (line, done)
        assert "Traceback" not in done.err


def test_every_link_to_a_file_leads_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_no_place_of_a_machine_is_named() -> None:
    for path in DOCUMENTS:
        assert not re.search(r"/(root|home)/\w+", path.read_text(encoding="utf-8")), path


def test_no_generated_file_is_stale() -> None:
    """`make generate` writes them."""
    assert generate.stale() == []
