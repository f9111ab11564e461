"""Whose word is taken for who asks: the listed proxies', and nobody else's. No node is asked."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from auditpipe.dashboards.console.proxy import Identity, trusting
from auditpipe.dashboards.console.server import Listen, forwarders
from auditpipe.schemas.errors import SettingsError
from tests.conftest import free_port
from tests.dashboards.console.conftest import Served, console

_NAME = "X-Forwarded-User"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy at 127.0.0.1 is trusted; there is no node, which whoever gets so far is told."""
    proxy, folder = trusting(["127.0.0.1/32"], _NAME), tmp_path_factory.mktemp("proxy")
    with console(f"https://127.0.0.1:{free_port()}", None, folder, proxy) as made:
        yield made


def ask(served: Served, headers: list[tuple[str, str]], sender: str = "127.0.0.1") -> httpx.Response:
    with httpx.Client(base_url=served.url, transport=httpx.HTTPTransport(local_address=sender)) as browser:
        return browser.get("/sign-in", headers=headers)


def test_a_name_from_the_trusted_proxy_is_taken_to_the_node(served: Served) -> None:
    answer = ask(served, [(_NAME, "ada")])
    assert answer.status_code == 503
    assert "OpenSearch does not answer" in answer.text


@pytest.mark.parametrize("sender", ["127.0.0.2", "127.0.0.53"])
def test_a_name_from_any_other_address_is_nobodys(served: Served, sender: str) -> None:
    """Also if it says that it was forwarded by the proxy, or for it."""
    for more in ([], [("X-Forwarded-For", "127.0.0.1")], [("Forwarded", "for=127.0.0.1")]):
        answer = ask(served, [(_NAME, "ada"), *more], sender)
        assert answer.status_code == 200
        assert 'name="password"' in answer.text


@pytest.mark.parametrize(
    "given",
    [["ada", "root"], ["ada,root"], [""], ["a" * 257], ["ad\xe4"], ["a\tb"]],
    ids=["two", "a list", "nothing", "long", "not ASCII", "a tab"],
)
def test_what_is_no_single_name_is_refused(served: Served, given: list[str]) -> None:
    answer = ask(served, [(_NAME, text.encode("latin-1")) for text in given])  # type: ignore[misc]
    assert answer.status_code == 403
    assert "the proxy sent no single name or token in X-Forwarded-User" in answer.text


def test_without_the_header_people_sign_in_themselves(served: Served) -> None:
    """A token is not asked for where the proxy sends names."""
    answer = ask(served, [("Authorization", "Bearer x"), ("X-Proxy-User", "root")])
    assert (answer.status_code, 'name="password"' in answer.text) == (200, True)


def test_what_the_node_is_told() -> None:
    named = Identity("ada", is_token=False).caller("192.0.2.7")
    assert (named.who, named.headers) == ("ada", {"x-proxy-user": "ada", "x-forwarded-for": "192.0.2.7"})
    assert Identity("t.o.k", is_token=True).caller("192.0.2.7").headers == {"authorization": "Bearer t.o.k"}
    assert "t.o.k" not in repr(Identity("t.o.k", is_token=True))


@pytest.mark.parametrize(
    ("addresses", "header", "said"),
    [
        (["proxy.example"], None, "expected an address or a network"),
        (["10.0.0.1/8"], None, "expected an address or a network"),
        (["0.0.0.0/0"], None, "that is everyone"),
        (["::/0"], None, "that is everyone"),
        ([], "X-User", "name the proxy's address too"),
        (["::1"], "X User:", "expected a header's name"),
        (["::1"], "", "expected a header's name"),
    ],
)
def test_flags_that_make_no_sense_are_refused(addresses: list[str], header: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        trusting(addresses, header)


def test_by_default_no_proxy_is_trusted() -> None:
    assert trusting([], None) is None
    assert forwarders(Listen(), None) == ()
    assert forwarders(Listen(public_url="https://audit.example"), None) == ("127.0.0.1", "::1")
    assert forwarders(Listen(), trusting(["10.0.0.0/24"], None)) == ("10.0.0.0/24",)


def test_by_default_a_header_is_nobodys(tmp_path: Path) -> None:
    with console(f"https://127.0.0.1:{free_port()}", None, tmp_path) as made:
        answer = ask(made, [(_NAME, "ada"), ("Authorization", "Bearer x"), ("X-Proxy-User", "ada")])
    assert (answer.status_code, 'name="password"' in answer.text) == (200, True)
