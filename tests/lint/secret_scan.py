"""`python -m tests.lint.secret_scan [--accept]`: secrets in the files of the repository, by detect-secrets.

What looks like one and is none (a test's password, an example) is in `.secrets.baseline`, as a hash; whatever else is
found is exit 1. `--accept` writes the baseline anew: look at its difference before you commit it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.core import baseline
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ".secrets.baseline"
#: Checksums of public files, and pictures.
NOT_SCANNED = ("pipeline/local/artifacts.lock.json", "docs/images/", BASELINE)
#: Not all that there are: each costs its time on each line. None asks a network.
SETTINGS: dict[str, Any] = {
    "plugins_used": [
        {"name": "Base64HighEntropyString", "limit": 4.5},
        {"name": "HexHighEntropyString", "limit": 3.0},
        *(
            {"name": name}
            for name in (
                *("AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "GitHubTokenDetector"),
                *("GitLabTokenDetector", "JwtTokenDetector", "KeywordDetector", "NpmDetector", "PrivateKeyDetector"),
                *("PypiTokenDetector", "SlackDetector"),
            )
        ),
    ],
    "filters_used": [
        {"path": f"detect_secrets.filters.{name}"}
        for name in (
            *("allowlist.is_line_allowlisted", "heuristic.is_indirect_reference", "heuristic.is_likely_id_string"),
            *("heuristic.is_potential_uuid", "heuristic.is_sequential_string", "heuristic.is_templated_secret"),
        )
    ],
}


def files(root: Path) -> list[str]:
    """What git knows of, and what it is about to: new files that no rule ignores."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    return [name for name in listed if name and not name.startswith(NOT_SCANNED) and (root / name).is_file()]


def scan(root: Path, names: Iterable[str]) -> SecretsCollection:
    """What looks like a secret in these files."""
    found = SecretsCollection(root=str(root))
    with transient_settings(SETTINGS):
        for name in names:
            found.scan_file(name)
    return found


def scan_all(root: Path) -> SecretsCollection:
    """The same for the whole repository, on all cores."""
    names, cores = files(root), os.cpu_count() or 1
    found = SecretsCollection(root=str(root))
    with ProcessPoolExecutor(cores) as pool:
        for part in pool.map(scan, [root] * cores, [names[core::cores] for core in range(cores)]):
            found.data.update(part.data)  # no file is in two parts
    return found


def main(arguments: list[str], root: Path = ROOT) -> int:
    """1 if something is found that the baseline does not have."""
    found, path = scan_all(root), root / BASELINE
    if "--accept" in arguments:
        with transient_settings(SETTINGS):
            baseline.save_to_file(found, str(path))
        return 0
    known = baseline.load(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else SecretsCollection()
    new = found - known
    for name, secret in new:
        print(f"{name}:{secret.line_number}: {secret.type}; take it out, or run this with --accept if it is none")
    print(f"secret scan: {len(list(new))} found, {len(list(known))} known to be none")
    return 1 if list(new) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
