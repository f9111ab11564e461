"""`python -m tests.lint.dependency_audit [--strict]`: known vulnerabilities in what auditpipe brings along.

pip-audit asks for the versions that are installed here, and its settings hold (PIP_AUDIT_VULNERABILITY_SERVICE,
PIP_AUDIT_OSV_URL). Exit 1 if one is known. Where nobody could be asked (a machine without a network, an index that has
no such answers) it says so and passes, because that is no finding; with `--strict` it fails.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Vulnerabilities that do not reach us: the id, and why.
ACCEPTED: dict[str, str] = {}

PIP_AUDIT = (sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json", "--timeout", "10")


def installed(name: str, extras: frozenset[str]) -> dict[str, str]:
    """Version by name of each distribution that this one needs, itself left out."""
    found: dict[str, str] = {}
    waiting, seen = [(name, extras)], set()
    while waiting:
        distribution, wanted = waiting.pop()
        if (distribution, wanted) in seen:
            continue
        seen.add((distribution, wanted))
        for needed in _needs(distribution, wanted):
            needed_name = canonicalize_name(needed.name)
            if needed_name != name:
                found[needed_name] = metadata.version(needed_name)
            waiting.append((needed_name, frozenset(needed.extras)))
    return found


def _needs(distribution: str, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in metadata.requires(distribution) or ():
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            yield needed


def ask(versions: dict[str, str]) -> dict[str, Any] | str:
    """pip-audit's answer, or why there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
        file.flush()
        command = [*PIP_AUDIT, "--progress-spinner", "off", "--requirement", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
    return answer


def main(arguments: list[str]) -> int:
    """0: nothing is known, or nobody could be asked; 1: something is known, or with --strict nobody could be asked."""
    versions = installed("auditpipe", frozenset({"all"}))
    answer = ask(versions)
    if isinstance(answer, str):
        answer, why = {"dependencies": []}, answer
    else:
        why = "the index has no answer for their versions"
    told = [dependency for dependency in answer["dependencies"] if "vulns" in dependency]
    known = [(each, vulnerability) for each in told for vulnerability in each["vulns"]]
    bad = [(each, vulnerability) for each, vulnerability in known if vulnerability["id"] not in ACCEPTED]
    for each, vulnerability in bad:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"dependency audit: {len(told)} of {len(versions)} were asked for, {len(bad)} vulnerabilities are known")
    silent = len(versions) - len(told)
    if silent:
        print(f"dependency audit: NOTHING IS KNOWN of {silent} of {len(versions)} dependencies: {why}")
    return 1 if bad or (silent and "--strict" in arguments) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
