"""Everything that a Fluent Bit with our configuration needs to start: program, environment, working directory.

Fluent Bit takes an undefined `${NAME}` for an empty string and goes on: `environment` therefore gives each name that
the configuration uses, and no part of it can be empty.
"""

import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from auditpipe.schemas.errors import NotFinished, SettingsError
from auditpipe.schemas.settings import Settings

#: Older ones lack `env` from files (4.0) and keeping what was rejected (4.2).
OLDEST = (4, 2, 0)

PASSWORD_FILE = "shipper-password"  # noqa: S105 - a file's name
USE_RELAY = "none"

#: File descriptors: each chunk that it holds open takes one (`storage.max_chunks_up`); with too few it does not start.
DESCRIPTORS = 10_000
#: Of 1 s to 10 s each; then a chunk goes to the rejected ones, from where it is replayed.
RETRIES = 12


def configuration() -> Path:
    """fluent-bit.yaml, the one file of `auditpipe up` and docker-compose.yml."""
    return Path(str(files("auditpipe.pipeline.fluent_bit").joinpath("fluent-bit.yaml")))


def guard() -> Path:
    """guard.lua."""
    return Path(str(files("auditpipe.pipeline.fluent_bit").joinpath("guard.lua")))


@dataclass(frozen=True, slots=True)
class Launch:
    """Where one Fluent Bit listens, keeps its chunks and sends to. `folder` is its working directory."""

    folder: Path
    opensearch_url: str
    ca_file: Path
    user: str
    forward: tuple[str, int]
    http_port: int
    retries: int = RETRIES

    @property
    def storage(self) -> Path:
        """Its chunks."""
        return self.folder / "storage"

    @property
    def rejected(self) -> Path:
        """Chunks that OpenSearch refused to the end, for the dead-letter replayer."""
        return self.storage / "rejected"


def environment(launch: Launch) -> dict[str, str]:
    """The variables of fluent-bit.yaml. SettingsError if one would be empty."""
    url = urlsplit(launch.opensearch_url)
    if url.scheme != "https":
        raise SettingsError(f"Fluent Bit ships with TLS: expected an https:// URL, got {launch.opensearch_url}")
    host, port = launch.forward
    variables = {
        "AUDITPIPE_FLUENT_BIT_STORAGE": str(launch.storage),
        "AUDITPIPE_FLUENT_BIT_HTTP_PORT": str(launch.http_port),
        "AUDITPIPE_FLUENT_BIT_RETRIES": str(launch.retries),
        "AUDITPIPE_FLUENT_BIT_GUARD": str(guard()),
        "AUDITPIPE_FORWARD_HOST": host,
        "AUDITPIPE_FORWARD_PORT": str(port),
        "AUDITPIPE_OPENSEARCH_HOST": url.hostname or "",
        "AUDITPIPE_OPENSEARCH_PORT": str(url.port or 443),
        "AUDITPIPE_SHIPPER_USER": launch.user,
        "AUDITPIPE_CA_FILE": str(launch.ca_file),
    }
    for name, value in variables.items():
        if not value or value == "None" or "${" in value:
            raise SettingsError(f"Fluent Bit's {name}: expected a value, got {value!r}")
    return variables


def command(program: str) -> list[str]:
    """Its command line. Hot reload stays off: while OpenSearch is down it can hang."""
    return [program, "-c", str(configuration())]


def prepare(launch: Launch, password: str) -> None:
    """Make its folder (0700) with the password's file (0600), from where it reads it."""
    if not password or "\n" in password or "\r" in password:
        raise SettingsError("the shipper's password: expected one line that is not empty")
    launch.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = launch.folder / PASSWORD_FILE
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(password)


def allow_descriptors() -> None:
    """Raise the limit of this process, which Fluent Bit inherits, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def find(settings: Settings) -> str | None:
    """The program to use, or None for the relay. SettingsError if the one that was named can't be used."""
    named = settings.get("fluent_bit")
    if named == USE_RELAY:
        return None
    program = shutil.which(named or "fluent-bit")
    if named and program is None:
        raise SettingsError(f"AUDITPIPE_FLUENT_BIT names {named}, which is no program here; `none` means: the relay")
    if program is None:
        return None
    found = version(program)
    if found < OLDEST:
        text = ".".join(map(str, found))
        if named:
            raise SettingsError(f"{program} is Fluent Bit {text}: expected {'.'.join(map(str, OLDEST))} or later")
        return None
    return program


def version(program: str) -> tuple[int, int, int]:
    """(5, 1, 1), as `fluent-bit --version` says. NotFinished if it does not run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFinished(f"{program} does not run: {error}") from error
    match = re.search(r"Fluent Bit v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if match is None:
        raise NotFinished(f"{program} --version: expected `Fluent Bit v5.1.1` or the like, got {answer.stdout[:80]!r}")
    return int(match[1]), int(match[2]), int(match[3])
