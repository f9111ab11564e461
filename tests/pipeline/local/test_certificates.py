"""The stack's own authority."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from auditpipe.pipeline.local import certificates
from auditpipe.schemas.errors import SettingsError


@pytest.fixture
def made(tmp_path):
    return certificates.ensure(tmp_path / "certs")


def connect(made, name, *, ca=None):
    """A TLS handshake, with each side's certificate checked by the other."""
    server, client = socket.socketpair()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(made.node.certificate, made.node.key)
    serving.load_verify_locations(made.ca)
    serving.verify_mode = ssl.CERT_REQUIRED
    asking = ssl.create_default_context(cafile=ca or made.ca)
    asking.load_cert_chain(made.admin.certificate, made.admin.key)

    def serve():
        try:
            with serving.wrap_socket(server, server_side=True) as secure:
                secure.sendall(dict(x[0] for x in secure.getpeercert()["subject"])["commonName"].encode())
        except OSError:
            server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(client, server_hostname=name) as secure:
            return secure.recv(100).decode()
    finally:
        client.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_node_is_trusted_under_each_name_of_this_machine(made, name):
    assert connect(made, name) == "auditpipe-admin"


def test_the_node_is_trusted_under_no_other_name(made):
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(made, "opensearch.example")


def test_another_homes_authority_does_not_vouch_for_it(made, tmp_path):
    other = certificates.ensure(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(made, "localhost", ca=other.ca)


def test_the_names_are_those_that_opensearch_yml_has(made):
    assert made.node.read()[0].subject.rfc4514_string() == "CN=auditpipe-node"
    assert made.admin.read()[0].subject.rfc4514_string() == "CN=auditpipe-admin"


def test_keys_are_p256_and_for_their_owner_alone(made):
    for pair in (made.node, made.admin):
        assert isinstance(pair.read()[1].curve, ec.SECP256R1)
        assert pair.key.stat().st_mode & 0o777 == 0o600
    assert made.ca.parent.stat().st_mode & 0o777 == 0o700


def test_the_admin_certificate_is_no_servers(made):
    usage = made.admin.read()[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [purpose.dotted_string for purpose in usage] == ["1.3.6.1.5.5.7.3.2"]  # clientAuth


def test_what_is_good_is_left_alone(made):
    before = made.node.certificate.read_bytes(), made.admin.certificate.read_bytes(), made.ca.read_bytes()
    again = certificates.ensure(made.ca.parent)
    assert not again.renewed
    assert (again.node.certificate.read_bytes(), again.admin.certificate.read_bytes(), again.ca.read_bytes()) == before


@pytest.mark.parametrize(("left", "renewed"), [(timedelta(days=29), True), (timedelta(days=31), False)])
def test_it_is_renewed_thirty_days_before_its_end(made, left, renewed):
    end = certificates.end_of(made.node.certificate)
    again = certificates.ensure(made.ca.parent, now=end - left)
    assert again.renewed is renewed
    assert (certificates.end_of(made.node.certificate) > end) is renewed


def test_a_new_authority_signs_all_anew(made):
    made.ca.unlink()
    again = certificates.ensure(made.ca.parent)
    assert again.renewed
    assert connect(again, "localhost") == "auditpipe-admin"


def test_a_key_that_is_not_the_certificates_is_replaced(made, tmp_path):
    other = certificates.ensure(tmp_path / "other")
    made.node.key.write_bytes(other.node.key.read_bytes())
    assert certificates.ensure(made.ca.parent).renewed


def test_what_is_no_certificate_is_named(made):
    made.node.certificate.write_text("not a certificate")
    with pytest.raises(SettingsError, match=r"node\.pem"):
        certificates.ensure(made.ca.parent)


def test_an_expired_certificate_is_due():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert certificates.is_due(now - timedelta(days=1), now)
    assert not certificates.is_due(now + timedelta(days=31), now)
