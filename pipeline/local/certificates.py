"""A certificate authority of the stack's own, and what it signs: the certificates of the node and of the admin.

ECDSA on P-256 (FIPS 186-5), X.509 v3 (RFC 5280), keys as unencrypted PKCS#8 (RFC 5958), which is what Security reads.
The authority's key stays in the folder, mode 0600, so that `up` can renew what is about to expire.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auditpipe.pipeline.local.files import write_private
from auditpipe.schemas.errors import SettingsError

LIFETIME = timedelta(days=397)
CA_LIFETIME = timedelta(days=3650)
RENEW_WITHIN = timedelta(days=30)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def read(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Both, parsed. SettingsError if they can't be read."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self.certificate} and {self.key}: expected a PEM certificate and key: {error}"
            ) from (error)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError(f"{self.key}: expected an EC key, as `auditpipe up` makes")
        return certificate, key


@dataclass(frozen=True, slots=True)
class Certificates:
    """The stack's certificates. `renewed` says whether the node's is new, so that a running node must be restarted."""

    ca: Path
    node: Pair
    admin: Pair
    renewed: bool


def ensure(folder: Path, names: Iterable[str] = LOCAL_NAMES, *, now: datetime | None = None) -> Certificates:
    """Make what is missing in `folder`, and anew what expires within 30 days or another authority has signed.

    `names` are the DNS names and addresses in the node's certificate. The subjects, CN=auditpipe-node and
    CN=auditpipe-admin, are those that opensearch.yml names.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = Pair(folder / "ca.pem", folder / "ca-key.pem")
    if not _is_good(ca, now, None):
        _write(ca, *_authority(now))
    authority = ca.read()
    node = Pair(folder / "node.pem", folder / "node-key.pem")
    admin = Pair(folder / "admin.pem", folder / "admin-key.pem")
    renewed = not _is_good(node, now, authority[0])
    if renewed:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        _write(node, *_signed("auditpipe-node", both, tuple(names), authority, now))
    if not _is_good(admin, now, authority[0]):
        _write(admin, *_signed("auditpipe-admin", [ExtendedKeyUsageOID.CLIENT_AUTH], (), authority, now))
    return Certificates(ca.certificate, node, admin, renewed)


def end_of(path: Path) -> datetime:
    """When the (first) certificate of a PEM file expires."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: expected a PEM certificate: {error}") from error


def is_due(end: datetime, now: datetime | None = None) -> bool:
    """Whether a certificate that ends then is to be renewed by now."""
    return end - (now or datetime.now(UTC)) <= RENEW_WITHIN


def _is_good(pair: Pair, now: datetime, issuer: x509.Certificate | None) -> bool:
    if not (pair.certificate.exists() and pair.key.exists()):
        return False
    certificate, key = pair.read()
    try:
        certificate.verify_directly_issued_by(issuer or certificate)
    except (ValueError, InvalidSignature):
        return False
    return not is_due(certificate.not_valid_after_utc, now) and certificate.public_key() == key.public_key()


def _authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    # A number in the name: two homes' authorities must not be taken for each other by a client that has both.
    name = _name(f"auditpipe local authority {x509.random_serial_number():x}"[:60])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # certificate and CRL signing
    builder = _builder(name, name, key.public_key(), now, CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256()), key


def _signed(
    common_name: str,
    purposes: list[x509.ObjectIdentifier],
    names: tuple[str, ...],
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    now: datetime,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    ca_certificate, ca_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(common_name), ca_certificate.subject, key.public_key(), now, LIFETIME)
    usage = x509.KeyUsage(True, False, False, False, True, False, False, False, False)  # signature, key agreement
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
    return builder.sign(ca_key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(pair.key, secret)
    write_private(pair.certificate, certificate.public_bytes(pem))
