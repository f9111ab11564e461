"""Certificates of a test's own, and records that they sign."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.retention.signature import Key, Signer, Trust
from auditpipe.schemas.settings import Settings, load


class Authority:
    """A local stack's certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.made = certificates.ensure(folder)
        self.folder = folder

    def settings(self, pair: certificates.Pair | None = None, **more: str) -> Settings:
        """As the admin, or as who holds the pair."""
        pair = pair or self.made.admin
        files = {"cert_file": str(pair.certificate), "key_file": str(pair.key), "ca_file": str(self.made.ca)}
        loaded = load({"url": "https://127.0.0.1:1", **files}, environment={"HOME": str(self.folder)})
        return Settings({**loaded.values, **more}, loaded.source)

    @property
    def signer(self) -> Signer:
        return Signer.read(self.settings())

    @property
    def trust(self) -> Trust:
        return Trust.read(self.settings())


def certificate(
    name: str, key: Key, issuer: tuple[str, Key] | None = None, *, ca: bool = False, days: int = 30
) -> x509.Certificate:
    """Signed by the issuer (common name, key), by itself without one."""
    by, by_key = issuer or (name, key)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=_name(by),
        subject_name=_name(name),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=days),
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(by_key, hashes.SHA256() if isinstance(by_key, ec.EllipticCurvePrivateKey) else None)


def record(**fields: Any) -> dict[str, Any]:
    """A record of now, not signed yet."""
    return {"@timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "kind": "month_removed", **fields}


def _name(common: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(f"CN={common}")
