"""What a stranger's headers become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.emitters.request import Proxies, check_identity, of_request, parse_address, request_id, trace_id
from auditpipe.schemas.errors import InvalidEvent, UsageError

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's word about others
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "1.2.3.4, 198.51.100.1, 10.0.0.3", "198.51.100.1"),  # left of the first stranger: invented
        ("10.0.0.2", "10.0.0.4, 10.0.0.3", "10.0.0.4"),  # from inside, all the way
        ("10.0.0.2", "198.51.100.1, unknown", "10.0.0.2"),
        ("10.0.0.2", None, "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("::ffff:10.0.0.2", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.2", "198.51.100.1:4711", "198.51.100.1"),
        ("", "198.51.100.1", None),
        ("testclient", "198.51.100.1", None),
    ],
)
def test_forwarded_for_is_believed_from_the_right_and_as_far_as_trusted_proxies_go(peer, forwarded, client):
    assert Proxies.named(["10.0.0.0/8"]).client(peer, forwarded) == client


def test_without_trusted_proxies_the_peer_is_the_client():
    assert Proxies().client("127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_a_unix_socket_is_a_proxy_only_where_it_is_named():
    assert Proxies.named(["unix"]).client("", "198.51.100.1") == "198.51.100.1"
    assert Proxies.named(["127.0.0.1"]).client("", "198.51.100.1") is None


@pytest.mark.parametrize("names", ["10.0.0.0/8", ["10.0.0.1/8"], ["proxy.example"]])
def test_a_proxy_that_is_no_address_is_refused_at_start(names):
    with pytest.raises(UsageError, match="trusted_proxies"):
        Proxies.named(names)


@given(st.ip_addresses(), st.lists(st.ip_addresses(v=4), max_size=5))
def test_with_every_hop_trusted_the_client_is_the_leftmost(peer, hops):
    everyone = Proxies.named(["0.0.0.0/0", "::/0"])
    leftmost = parse_address(str(hops[0] if hops else peer))
    assert everyone.client(str(peer), ", ".join(map(str, hops))) == str(leftmost)


@pytest.mark.parametrize(
    ("traceparent", "trace"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", TRACE),  # a later version, read as far as known
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_traceparent_is_read_as_w3c_trace_context_says(traceparent, trace):
    assert trace_id(traceparent) == trace


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "a\x1b[2J", "caf\xe9"])
def test_a_request_id_that_is_no_short_word_is_replaced_by_a_new_one(given):
    first, second = request_id(given), request_id(given)
    assert first != second
    assert given != first


def test_a_request_id_is_kept():
    assert request_id(" 7f3a-1/x ") == "7f3a-1/x"


@given(st.dictionaries(st.sampled_from(["x-request-id", "x-forwarded-for", "user-agent", "traceparent"]), st.text()))
def test_no_header_keeps_an_event_off_the_record(headers):
    latin = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    values = of_request(latin.get, "127.0.0.1", Proxies.named(["127.0.0.1"]))
    memory = MemoryTransport()
    audit = AuditLog(service="tests", transport=memory)
    audit.emit("user.user.exported", actor="u1", **values)
    assert memory.actions == ["user.user.exported"]


@pytest.mark.parametrize("said", ["u1", ["actor"], {"user": "u1"}])
def test_an_identity_that_means_nothing_is_refused(said):
    with pytest.raises(InvalidEvent, match="identify"):
        check_identity(said)
