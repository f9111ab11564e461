"""Key files of pseudonyms, for tests."""

from pathlib import Path

OLD = "0123456789abcdef" * 4


def write_keys(path: Path, *lines: str) -> Path:
    """A key file with these lines, or with one key named `now`."""
    path.write_text("\n".join(lines or (f"now {OLD}",)) + "\n")
    path.chmod(0o600)
    return path
