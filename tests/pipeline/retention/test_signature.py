"""Whose records are believed."""

import base64
import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auditpipe.pipeline.retention.signature import Key, Signer, Trust
from auditpipe.schemas.errors import NotAllowed, SettingsError
from tests.pipeline.retention.authority import Authority, certificate, record

ADMIN = "auditpipe-admin"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def trusting(*authorities: Any) -> Trust:
    return Trust(authorities, certificate(ADMIN, ec.generate_private_key(ec.SECP256R1())).subject)


def test_what_the_admin_certificate_signed_is_believed(authority: Authority) -> None:
    assert authority.trust.problem(authority.signer.sign(record(month="1999-01", note="é \u2028"))) is None


@pytest.mark.parametrize(
    "alter",
    [
        lambda one: one.update(month="1999-02"),
        lambda one: one.update(more=1),
        lambda one: one.pop("month"),
        lambda one: one.update({"@timestamp": record()["@timestamp"][:-1] + "1Z"}),
        lambda one: one["signature"].update(value=one["signature"]["value"][:-8] + "AAAAAAA="),
        lambda one: one["signature"].update(algorithm="Ed25519"),
        lambda one: one["signature"].update(value=5),
        lambda one: one["signature"].update(certificates=["x"]),
        lambda one: one["signature"].update(certificates=[]),
        lambda one: one.pop("signature"),
        lambda one: one.update(signature=[]),
    ],
)
def test_whatever_is_altered_in_it_is_seen(authority: Authority, alter: Any) -> None:
    signed = copy.deepcopy(authority.signer.sign(record(month="1999-01")))
    alter(signed)
    assert authority.trust.problem(signed) is not None


def test_another_certificate_of_the_same_authority_is_not_the_admins(authority: Authority) -> None:
    node = Signer.read(authority.settings(authority.made.node))
    problem = authority.trust.problem(node.sign(record()))
    assert problem == "it is signed by CN=auditpipe-node, not by CN=auditpipe-admin (AUDITPIPE_ADMIN_DN)"
    renamed = Trust.read(authority.settings(admin_dn="CN=auditpipe-node"))
    assert renamed.problem(node.sign(record())) is None


def test_the_admin_of_another_authority_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    problem = authority.trust.problem(Authority(tmp_path).signer.sign(record()))
    assert problem == "no authority of ca_file has certified who signed it"


def test_a_record_outlives_its_certificate_but_is_not_older_or_younger(authority: Authority) -> None:
    for time in ("1999-01-01T00:00:00Z", "2106-01-01T00:00:00Z"):
        signed = authority.signer.sign(record() | {"@timestamp": time})
        assert authority.trust.problem(signed) == "the certificate that signed it was not valid at its time"


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()], ids=["rsa", "ed25519"]
)
def test_other_kinds_of_keys_sign_too(key: Key) -> None:
    root = ec.generate_private_key(ec.SECP256R1())
    signer = Signer((certificate(ADMIN, key, ("root", root)),), key)
    signed, trust = signer.sign(record()), trusting(certificate("root", root, ca=True))
    assert trust.problem(signed) is None
    assert trust.problem({**signed, "month": "1999-01"}) == "its signature does not hold"


def test_an_authority_between_may_be_carried_along_but_only_an_authority() -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root = certificate("root", keys[0], ca=True)
    admin = certificate(ADMIN, keys[2], ("between", keys[1]))
    for ca, problem in ((True, None), (False, "no authority of ca_file has certified who signed it")):
        between = certificate("between", keys[1], ("root", keys[0]), ca=ca)
        signed = Signer((admin, between), keys[2]).sign(record())
        assert trusting(root).problem(signed) == problem
        assert trusting().problem(signed) is not None


def test_who_has_no_certificate_or_a_key_that_does_not_sign_is_told(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="admin certificate"):
        Signer.read(authority.settings(cert_file="", key_file=""))
    key = tmp_path / "key.pem"
    key.write_text("no key")
    with pytest.raises(SettingsError, match="expected a certificate and its unencrypted key"):
        Signer.read(authority.settings(key_file=str(key)))
    pem = serialization.Encoding.PEM
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    key.write_bytes(secret)
    with pytest.raises(SettingsError, match="unencrypted"):
        Signer.read(authority.settings(key_file=str(key)))
    with pytest.raises(SettingsError, match="admin_dn"):
        Trust.read(authority.settings(admin_dn="no subject"))


def replaced(one: x509.Certificate, old: bytes, new: bytes) -> bytes:
    """Its DER with a part of the same length replaced."""
    der = one.public_bytes(serialization.Encoding.DER)
    assert old in der and len(old) == len(new)
    return der.replace(old, new)


KEY_TYPE, CURVE = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06082a8648ce3d030107")
USAGE, CONSTRAINTS = bytes.fromhex("0603551d0f"), bytes.fromhex("0603551d13")
NOT_OURS = "it is not signed, or not as auditpipe signs"


def with_chain(signed: dict[str, Any], *chain: bytes) -> dict[str, Any]:
    encoded = [base64.b64encode(one).decode() for one in chain]
    return {**signed, "signature": {**signed["signature"], "certificates": encoded}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KEY_TYPE, KEY_TYPE[:-1] + b"\x7f"),
        (CURVE, CURVE[:-1] + b"\x7f"),
        (b"\x0c\x0fauditpipe-admin", b"\x0c\x0fauditpipe-admi\xff"),
    ],
    ids=["key type", "curve", "name"],
)
def test_a_certificate_that_cannot_be_read_is_a_finding(authority: Authority, old: bytes, new: bytes) -> None:
    signer = authority.signer
    planted = with_chain(signer.sign(record()), replaced(signer.certificates[0], old, new))
    assert authority.trust.problem(planted) == NOT_OURS


def test_an_authority_between_with_a_doubled_extension_is_a_finding() -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    admin = certificate(ADMIN, keys[2], ("between", keys[1]))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=admin.issuer,
        subject_name=admin.issuer,
        public_key=keys[1].public_key(),
        serial_number=1,
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(hours=1),
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    between = builder.add_extension(
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x03\x02\x01\x06"), critical=False
    ).sign(keys[0], hashes.SHA256())
    signed = Signer((admin, between), keys[2]).sign(record())
    planted = with_chain(signed, admin.public_bytes(serialization.Encoding.DER), replaced(between, USAGE, CONSTRAINTS))
    assert trusting(certificate("root", keys[0], ca=True)).problem(planted) == NOT_OURS


@pytest.fixture(scope="module")
def chained() -> tuple[Trust, dict[str, Any], list[bytes]]:
    """Who believes a record, the record, and its two certificates."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    admin = certificate(ADMIN, keys[2], ("between", keys[1]))
    between = certificate("between", keys[1], ("root", keys[0]), ca=True)
    signed = Signer((admin, between), keys[2]).sign(record(month="1999-01"))
    trust = trusting(certificate("root", keys[0], ca=True))
    assert trust.problem(signed) is None
    return trust, signed, [one.public_bytes(serialization.Encoding.DER) for one in (admin, between)]


@given(data=st.data())
@settings(max_examples=500)
def test_whatever_becomes_of_a_certificate_is_told_in_a_sentence(
    chained: tuple[Trust, dict[str, Any], list[bytes]], data: st.DataObject
) -> None:
    trust, signed, chain = chained
    altered = [bytearray(one) for one in chain]
    which = altered[data.draw(st.integers(0, 1))]
    before = bytes(which)
    for _ in range(data.draw(st.integers(1, 3))):
        which[data.draw(st.integers(0, len(which) - 1))] = data.draw(st.integers(0, 255))
    assume(bytes(which) != before)
    problem = trust.problem(with_chain(signed, *map(bytes, altered)))
    # How many bits of the last byte do not count is said outside of what is signed.
    assert isinstance(problem, str) or all(map(is_same_but_for_its_form, map(bytes, altered), chain))


def is_same_but_for_its_form(one: bytes, other: bytes) -> bool:
    """Whether these are certificates with the same content and signature."""
    first, second = (x509.load_der_x509_certificate(der) for der in (one, other))
    return (first.tbs_certificate_bytes, first.signature) == (second.tbs_certificate_bytes, second.signature)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(path=st.sampled_from(["@timestamp", "signature", "algorithm", "certificates", "value"]), value=JSON)
def test_whatever_stands_in_a_record_is_told_in_a_sentence(
    chained: tuple[Trust, dict[str, Any], list[bytes]], path: str, value: Any
) -> None:
    trust, signed, _ = chained
    planted = copy.deepcopy(signed)
    (planted if path in planted else planted["signature"])[path] = value
    assert isinstance(trust.problem(planted), str)


def test_a_record_nested_too_deep_is_a_finding(authority: Authority) -> None:
    deep: Any = "\ue000"
    for _ in range(100_000):
        deep = [deep]
    assert authority.trust.problem({**authority.signer.sign(record()), "query": deep}) == NOT_OURS
