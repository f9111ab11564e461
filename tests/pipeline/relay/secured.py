"""The files that a relay with TLS and a shared key is given."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.relay.security import Security, load_security

KEY = "a shared key, \u00fcber alles"


@dataclass(frozen=True)
class Files:
    ca: Path
    certificate: Path
    key: Path
    shared_key: Path

    @property
    def security(self) -> Security:
        return load_security(self.certificate, self.key, self.shared_key)

    def client(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if version is not None:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        return context


def make_files(folder: Path) -> Files:
    made = certificates.ensure(folder / "certs")
    shared_key = folder / "shared-key"
    shared_key.touch(0o600)
    shared_key.write_text(KEY + "\n")
    return Files(made.ca, made.node.certificate, made.node.key, shared_key)
