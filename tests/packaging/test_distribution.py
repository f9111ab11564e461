"""The wheel and the sdist: what is in them, and what an application gets without extras."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORTED_BY_EMITTING = (
    "import sys, auditpipe.emitters; print(' '.join(sorted({m.partition('.')[0] for m in sys.modules})))"
)


def run(*command: object, ok: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ok:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the tree that git tracks."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    tracked = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--outdir", out, source)  # the sdist, and the wheel from it
    return out


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


def test_only_auditpipe_lands_in_site_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"auditpipe", "auditpipe-0.1.0.dist-info"}
    assert "auditpipe/__init__.py" not in names


def test_every_package_and_its_data_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run(
        "git", "-C", ROOT, "ls-files", "schemas", "emitters", "pipeline", "dashboards", "cli", "examples/accounts"
    )
    tracked = tracked.stdout.split()
    assert tracked
    assert [name for name in tracked if f"auditpipe/{name}" not in names] == []


def test_the_sdist_has_what_the_tests_need(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "schemas/catalogue.json"} <= names


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with `pip install auditpipe` and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return folder / "bin"


def test_an_application_that_emits_gets_neither_opensearch_nor_click(bare: Path) -> None:
    imported = run(bare / "python", "-c", IMPORTED_BY_EMITTING).stdout.split()
    assert "pydantic" in imported
    assert not {"opensearchpy", "click", "cryptography", "jgo"} & set(imported)
    assert run(bare / "python", "-c", "import opensearchpy", ok=False).returncode == 1
    assert run(bare / "python", "-c", "import click", ok=False).returncode == 1


def test_its_command_says_what_to_install(bare: Path) -> None:
    done = run(bare / "auditpipe", "search", ok=False)
    assert done.returncode == 2
    assert "pip install 'auditpipe[cli]'" in done.stderr
    assert done.stdout == ""


def test_it_emits(bare: Path, tmp_path: Path) -> None:
    code = (
        "from auditpipe.emitters import AuditLog\n"
        f"with AuditLog(service='s', spool_dir={str(tmp_path)!r}, forward='127.0.0.1:1', exit_timeout=0) as audit:\n"
        "    print(audit.emit('user.user.updated', before={'last_name': 'Doe'}, after={'last_name': 'Dow'}).message)\n"
    )
    assert run(bare / "python", "-c", code).stdout == "Someone changed last_name of user: Doe -> Dow\n"


def test_importing_the_emitters_imports_no_reader() -> None:
    imported = run(sys.executable, "-c", IMPORTED_BY_EMITTING).stdout.split()
    assert not {"opensearchpy", "click"} & set(imported)
