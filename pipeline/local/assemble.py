"""Lay the pinned files out as an OpenSearch node: lib/, agent/, modules/, plugins/.

One folder for all homes, named after the lock, made under a temporary name and renamed: it is there whole or not at
all. Jars are hard links into the cache, so that a node costs no disk beside the unpacked Security plugin.
"""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from auditpipe.pipeline.local.artifacts import Artifact, Lock
from auditpipe.pipeline.local.download import cached
from auditpipe.schemas.errors import Finding

_DESCRIPTOR = "plugin-descriptor.properties"


def distribution(cache: Path, lock: Lock) -> Path:
    """The node's folder for this lock."""
    return cache / f"opensearch-{lock.version}-{lock.digest[:12]}"


def assemble(cache: Path, lock: Lock) -> Path:
    """Make the node's folder unless it is there and links to the files that are in the cache now."""
    target = distribution(cache, lock)
    if _is_current(target, cache, lock):
        return target
    (cache / "tmp").mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=cache / "tmp"))
    try:
        for artifact in lock.artifacts:
            for folder in artifact.into:
                _place(cached(cache, artifact), building / folder, artifact)
        for name, properties in lock.modules.items():
            _write_properties(building / "modules" / name / _DESCRIPTOR, properties)
        (building / "bin").mkdir()  # empty; OpenSearch makes it if it is not there, and here it may not
        for path in (building, *building.rglob("*")):  # whatever the umask is: the node may be another user
            path.chmod(0o755 if path.is_dir() else 0o644)
        _swap(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _place(source: Path, folder: Path, artifact: Artifact) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if artifact.packaging == "zip":
        _unpack(source, folder)
        return
    try:
        os.link(source, folder / artifact.file_name)
    except OSError:  # a file system without hard links
        shutil.copy2(source, folder / artifact.file_name)


def _unpack(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        members = [name for name in archive.namelist() if name.endswith(".jar") or "/" not in name]
        for name in members:
            if Path(name).name != name:
                raise Finding(f"{source.name} holds {name!r}: expected jars at its top and nothing outside of it")
        archive.extractall(folder, members)  # each name was checked to be a bare file name
    descriptor = folder / _DESCRIPTOR
    # It extends a module that is published nowhere (workload-management, rule-framework), for a feature unused here.
    lines = descriptor.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("extended.plugins")]
    descriptor.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _write_properties(path: Path, properties: Mapping[str, str]) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")


def _is_current(target: Path, cache: Path, lock: Lock) -> bool:
    """Whether each jar in the node is the very file that was just checked in the cache."""
    if not (target / "bin").is_dir():
        return False
    for artifact in lock.artifacts:
        if artifact.packaging == "zip":
            continue
        for folder in artifact.into:
            try:
                if not (target / folder / artifact.file_name).samefile(cached(cache, artifact)):
                    return False
            except FileNotFoundError:
                return False
    return True


def _swap(building: Path, target: Path) -> None:
    if target.exists():  # linked to a file of the cache that was damaged and fetched anew
        old = Path(tempfile.mkdtemp(dir=building.parent))
        target.rename(old / "old")
        shutil.rmtree(old, ignore_errors=True)
    building.rename(target)
