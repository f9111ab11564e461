"""Files that hold a secret: for their owner alone, checked when a program that stays starts with them."""

import os
import stat
from pathlib import Path

from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import Settings

#: A shared key is a line of text; a private key in PEM has a few thousand bytes.
LARGEST_SECRET = 2**16
#: The settings that name such a file.
_SECRETS = ("password_file", "token_file", "key_file", "forward_shared_key_file")


def check_secrets(settings: Settings) -> None:
    """SettingsError for a secret of these settings that others can read or change; it says what to do."""
    for name in _SECRETS:
        if path := settings.get(name):
            read_private(Path(path).expanduser(), name)


def read_private(path: Path, flag: str) -> bytes:
    """The bytes of a file that nobody else can read or write. SettingsError says what to do.

    A group may read it if root owns it: so secrets are handed to a service that does not run as root.
    """
    try:
        with path.open("rb") as file:
            _check(os.fstat(file.fileno()), path, flag)
            content = file.read(LARGEST_SECRET + 1)
    except OSError as error:
        raise SettingsError(f"{flag} {path} can't be read: {error.strerror or error}") from error
    if len(content) > LARGEST_SECRET:
        raise SettingsError(f"{flag} {path}: expected a file of at most {LARGEST_SECRET} bytes")
    return content


def _check(status: os.stat_result, path: Path, flag: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"{flag} {path}: expected a regular file")
    others = 0o027 if status.st_uid == 0 else 0o077
    if status.st_mode & others:
        raise SettingsError(
            f"{flag} {path}: others can read or change this secret (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"chmod 600 {path}"
        )
