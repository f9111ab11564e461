"""Fetch the pinned files into the cache: each to a temporary name, and under its own only when its SHA-256 fits.

The registry is the one that jgo knows. jgo checks no more than a SHA-1 that the same registry gives, and only warns:
the check that counts is against the lock.
"""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from auditpipe.pipeline.local.artifacts import Artifact, Lock, sha256_of
from auditpipe.schemas.errors import Finding, OutOfReach

_log = logging.getLogger(__name__)

#: Told how many bytes more have arrived, from several threads but one at a time.
Progress = Callable[[int], None]
THREADS = 6
TIMEOUT_S = 60
_ATTEMPTS = 2


def cached(cache: Path, artifact: Artifact) -> Path:
    """Where a file is in the cache. Its checksum is part of the path: a new lock never meets an old file."""
    return cache / "files" / artifact.sha256[:16] / artifact.file_name


def missing(cache: Path, lock: Lock) -> list[Artifact]:
    """The files that are not in the cache, or not as the lock has them. Those are removed."""
    with ThreadPoolExecutor(2) as pool:  # hashing gives up the interpreter's lock
        sound = pool.map(lambda artifact: _is_sound(cached(cache, artifact), artifact), lock.artifacts)
        return [artifact for artifact, is_sound in zip(lock.artifacts, sound, strict=True) if not is_sound]


def fetch(cache: Path, artifacts: list[Artifact], progress: Progress = lambda _: None) -> None:
    """Bring these files into the cache.

    A file that arrives broken is removed and asked for once more. OutOfReach if a file can't be had, Finding if what
    the registry gives is not what the lock names. Files that did arrive stay, so that the next run goes on from there.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = {pool.submit(_fetch_one, cache, artifact): artifact for artifact in artifacts}
        try:
            for task in as_completed(tasks):
                task.result()
                progress(tasks[task].size)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(cache: Path, artifact: Artifact) -> None:
    target = cached(cache, artifact)
    for attempt in range(1, _ATTEMPTS + 1):
        with _staging(cache) as staging:
            try:
                arrived = _download(staging, artifact)
            except OutOfReach:
                if attempt == _ATTEMPTS:
                    raise
                continue
            got = sha256_of(arrived)
            if got == artifact.sha256:
                target.parent.mkdir(parents=True, exist_ok=True)
                arrived.chmod(0o644)
                arrived.replace(target)
                return
        _log.warning("%s arrived with SHA-256 %s, expected %s", artifact.file_name, got, artifact.sha256)
    raise Finding(
        f"{artifact.file_name} is not what this version of auditpipe was tested with: expected SHA-256 "
        f"{artifact.sha256}, got {got}. Nothing of it was kept. If your registry is a mirror, compare its copy."
    )


def _download(staging: Path, artifact: Artifact) -> Path:
    # Its imports (requests, rich XML parsing) cost more than a warm start may.
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=staging, timeout=TIMEOUT_S)
    component = context.project(artifact.group, artifact.artifact).at_version(artifact.version)
    try:
        return Path(component.artifact(packaging=artifact.packaging).resolve())
    except (OSError, RuntimeError, ValueError) as error:  # requests' errors are OSError
        raise OutOfReach(
            f"{artifact.file_name} can't be downloaded: {error}. What has arrived is kept; run the command again."
        ) from error


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """A folder of this download alone, on the cache's file system, so that the last step is a rename."""
    (cache / "tmp").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache / "tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_sound(path: Path, artifact: Artifact) -> bool:
    try:
        if path.stat().st_size == artifact.size and sha256_of(path) == artifact.sha256:
            return True
    except FileNotFoundError:
        return False
    _log.warning("%s in the cache is damaged: removed", path)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return False
