"""What clients have to show, and what the relay shows them: certificate, key and shared key, from files.

Secrets are never on a command line, where every user of the machine could read them.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from auditpipe.pipeline.private import read_private
from auditpipe.schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Security:
    """TLS for every connection, and the key that every client has to prove. None: without."""

    tls: ssl.SSLContext | None = None
    shared_key: bytes | None = field(default=None, repr=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """The flags that would have to be added before other machines may connect."""
        tls = () if self.tls else ("--tls-cert-file FILE --tls-key-file FILE",)
        return tls if self.shared_key else (*tls, "--shared-key-file FILE")


def load_security(cert_file: Path | None, key_file: Path | None, shared_key_file: Path | None) -> Security:
    """Read the files. SettingsError: one of a pair is missing, a file is not what it should be, others can read it."""
    if (cert_file is None) != (key_file is None):
        raise SettingsError("--tls-cert-file and --tls-key-file belong together: give both")
    return Security(
        tls=_context(cert_file, key_file) if cert_file and key_file else None,
        shared_key=_shared_key(shared_key_file) if shared_key_file else None,
    )


def _context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    read_private(key_file, "--tls-key-file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could make the relay compute new keys for ever.
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # An empty passphrase, because OpenSSL would ask the terminal for one.
        context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f"--tls-cert-file {cert_file}, --tls-key-file {key_file}: expected a PEM certificate and its PEM key "
            f"without passphrase: {error}"
        ) from error
    return context


def _shared_key(path: Path) -> bytes:
    lines = read_private(path, "--shared-key-file").splitlines()
    if not lines or not lines[0]:
        raise SettingsError(f"--shared-key-file {path}: expected the key on the first line, which is empty")
    try:
        lines[0].decode()
    except UnicodeDecodeError:
        raise SettingsError(f"--shared-key-file {path}: expected the key as UTF-8 text") from None
    return lines[0]
