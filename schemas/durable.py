"""What survives power loss."""

import os
from pathlib import Path


def sync_directory(folder: Path) -> None:
    """fsync(2) a folder, so that the names in it survive power loss. OSError: the disk refused."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
