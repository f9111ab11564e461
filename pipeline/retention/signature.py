"""Records signed with the admin certificate's key, so that nobody else's record is believed.

The signature is over the RFC 8785 bytes of the record without its `signature`. A record outlives its certificate, so
what counts is that the certificate was valid at the record's own time.
"""

import base64
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from auditpipe.schemas.canonical import canonical_bytes
from auditpipe.schemas.errors import NotAllowed, SettingsError
from auditpipe.schemas.identity import SECOND, parse_time
from auditpipe.schemas.settings import Settings

#: The subject that opensearch.yml of this project names (`plugins.security.authcz.admin_dn`).
ADMIN_DN = "CN=auditpipe-admin"

_LONGEST_CHAIN = 5
_EC, _RSA, _ED25519 = "ecdsa-with-SHA256", "sha256WithRSAEncryption", "Ed25519"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Signer:
    """The admin certificate, those between it and its authority, and its key."""

    certificates: tuple[x509.Certificate, ...]
    key: Key

    @classmethod
    def read(cls, settings: Settings) -> "Signer":
        """Of `cert_file` and `key_file`. NotAllowed: there are none. SettingsError: they can't sign."""
        cert_file, key_file = settings.get("cert_file"), settings.get("key_file")
        if not cert_file or not key_file:
            raise NotAllowed(
                "retention and holds need the cluster's admin certificate: give --cert-file and --key-file, or the"
                " profile of the local stack that has it (--profile operator)"
            )
        try:
            certificates = x509.load_pem_x509_certificates(Path(cert_file).expanduser().read_bytes())
            key = serialization.load_pem_private_key(Path(key_file).expanduser().read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            pair = f"cert_file {cert_file} and key_file {key_file}"
            raise SettingsError(f"{pair}: expected a certificate and its unencrypted key in PEM: {error}") from error
        if not isinstance(key, Key):
            raise SettingsError(f"key_file {key_file}: expected an EC, RSA or Ed25519 key, which can sign a record")
        return cls(tuple(certificates), key)

    @property
    def subject(self) -> str:
        """Who signs (RFC 4514)."""
        return self.certificates[0].subject.rfc4514_string()

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with its signature."""
        algorithm, value = self._value(canonical_bytes(_unsigned(document)))
        chain = [_text(one.public_bytes(serialization.Encoding.DER)) for one in self.certificates]
        signature = {"algorithm": algorithm, "certificates": chain, "value": _text(value)}
        return {**document, "signature": signature}

    def _value(self, data: bytes) -> tuple[str, bytes]:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return _EC, self.key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return _RSA, self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return _ED25519, self.key.sign(data)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose records are believed: those of `subject`, certified by one of the authorities."""

    authorities: tuple[x509.Certificate, ...]
    subject: x509.Name

    @classmethod
    def read(cls, settings: Settings) -> "Trust":
        """Of `ca_file` and `admin_dn`. SettingsError: one of them can't be read."""
        named = settings.get("admin_dn") or ADMIN_DN
        try:
            subject = x509.Name.from_rfc4514_string(named)
        except ValueError as error:
            raise SettingsError(f"admin_dn: expected a subject such as {ADMIN_DN}, got {named!r}: {error}") from error
        path = settings.get("ca_file") or ssl.get_default_verify_paths().cafile
        try:
            pem = Path(path).expanduser().read_bytes() if path else b""
            return cls(tuple(x509.load_pem_x509_certificates(pem)) if pem else (), subject)
        except (OSError, ValueError) as error:
            raise SettingsError(f"ca_file {path}: expected certificates in PEM: {error}") from error

    def problem(self, document: Mapping[str, Any]) -> str | None:
        """Why this record is not to be believed, as a sentence; None if it is.

        Whoever may add a record chooses its bytes, and parts of a certificate are parsed only when they are asked for:
        an unknown kind of key, a malformed name and a doubled extension each raise an error of their own.
        """
        try:
            return self._problem(document)
        except Exception:  # noqa: BLE001 - whatever it is: such a record is not believed
            return "it is not signed, or not as auditpipe signs"

    def _problem(self, document: Mapping[str, Any]) -> str | None:
        signature = document["signature"]
        chain = [x509.load_der_x509_certificate(base64.b64decode(one)) for one in signature["certificates"]]
        value, algorithm = base64.b64decode(signature["value"]), signature["algorithm"]
        at = parse_time(document["@timestamp"])
        data = canonical_bytes(_unsigned(document))
        if not chain or not _holds(chain[0].public_key(), algorithm, value, data):
            return "its signature does not hold"
        if chain[0].subject != self.subject:
            said, wanted = chain[0].subject.rfc4514_string(), self.subject.rfc4514_string()
            return f"it is signed by {said}, not by {wanted} (AUDITPIPE_ADMIN_DN)"
        if not all(_valid_at(one, at) for one in chain):
            return "the certificate that signed it was not valid at its time"
        if not self._certifies(chain[0], chain[1:]):
            return "no authority of ca_file has certified who signed it"
        return None

    def _certifies(self, certificate: x509.Certificate, others: Iterable[x509.Certificate]) -> bool:
        between = [one for one in others if _is_authority(one)]
        for _ in range(_LONGEST_CHAIN):
            if any(_issued(certificate, by) for by in self.authorities):
                return True
            issuer = next((one for one in between if _issued(certificate, one)), None)
            if issuer is None:
                return False
            certificate = issuer
        return False


def _holds(key: object, algorithm: object, value: bytes, data: bytes) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm == _EC:
            key.verify(value, data, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm == _RSA:
            key.verify(value, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm == _ED25519:
            key.verify(value, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _valid_at(certificate: x509.Certificate, ns: int) -> bool:
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begin <= ns / SECOND <= end


def _unsigned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "signature"}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
