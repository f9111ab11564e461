"""The one way to OpenSearch: verified, signed in, named to the node, and with errors that a person can act on.

TLS is always verified and there is no switch for it. Nothing is retried here: who can wait says so where they wait.
A foreign exception ends at `edge()`, which turns it into one of `auditpipe.schemas.errors`.
"""

import base64
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any
from urllib.parse import quote, urlsplit

from opensearchpy import OpenSearch, Urllib3HttpConnection
from opensearchpy.exceptions import ImproperlyConfigured, OpenSearchException, SerializationError, TransportError
from opensearchpy.serializer import JSONSerializer
from urllib3 import Timeout

from auditpipe.pipeline.answers import Peer, peer_of, translate_transport
from auditpipe.pipeline.any_json import loaded, utf8
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.errors import AuditpipeError, OutOfReach, SettingsError, UsageError
from auditpipe.schemas.settings import Settings, is_loopback

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
#: Percent-encoded it still fits the 8 kB that OpenSearch takes for all headers.
LONGEST_PURPOSE = 500


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: in words, and the headers that say so to the node."""

    who: str
    headers: Mapping[str, str] = field(repr=False)  # with a password or a token


def connect(
    settings: Settings,
    *,
    opaque_id: str | None = None,
    read_seconds: float = READ_SECONDS,
    caller: Caller | None = None,
) -> OpenSearch:
    """A client for the cluster that the settings name. Opens no connection yet.

    `opaque_id` becomes the `X-Opaque-Id` of each request, which the node's audit log keeps: see `tool_id`.
    `caller` is who asks, where that is not who the settings name.
    SettingsError: no URL, a URL that can't be used, an unreadable certificate or secret.
    """
    host = host_options(settings.url)
    caller = caller or credentials(settings)
    if host["use_ssl"]:
        host["ssl_context"] = _tls_context(settings)
    elif settings.get("cert_file"):
        raise SettingsError(f"{settings.url}: a client certificate needs https://")
    try:
        return OpenSearch(
            hosts=[host],
            connection_class=_Connection,
            serializer=ExactJSON(),
            max_retries=0,
            retry_on_status=(),
            timeout=Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            headers=dict(caller.headers),
            opaque_id=opaque_id or tool_id(),
            peer=Peer(settings.url, caller.who),
        )
    except ImproperlyConfigured as error:
        raise SettingsError(f"{settings.url}: {error}") from error


def version() -> str:
    """The installed version of auditpipe."""
    try:
        return installed_version("auditpipe")
    except PackageNotFoundError:
        return "0"


def tool_id(command: str = "", purpose: str | None = None) -> str:
    """`auditpipe/VERSION COMMAND purpose=...`; the purpose percent-encoded (RFC 3986): a header takes no text."""
    if purpose and len(purpose) > LONGEST_PURPOSE:
        raise UsageError(
            f"the purpose goes with every request: at most {LONGEST_PURPOSE} characters, got {len(purpose)}"
        )
    parts = [f"auditpipe/{version()}", command, f"purpose={quote(purpose, safe='')}" if purpose else ""]
    return " ".join(part for part in parts if part)


@contextmanager
def edge() -> Iterator[None]:
    """Within it, what opensearch-py raises leaves as one of our errors."""
    try:
        yield
    except (OpenSearchException, ImproperlyConfigured) as error:
        raise translate(error) from error


def translate(error: Exception) -> AuditpipeError:
    """Ours for theirs: OutOfReach, NotAllowed, BadFilter, NotFinished, or the base class for what is a bug."""
    peer = peer_of(error)
    if isinstance(error, AuditpipeError):
        return error
    if isinstance(error, TransportError):
        return translate_transport(error, peer)
    if isinstance(error, SerializationError):
        return OutOfReach(f"{peer.url} answered with something that is not JSON: is it OpenSearch, or a proxy?")
    return AuditpipeError(f"{peer.url}: {error}")


class Answer(dict[str, Any]):
    """A node's answer that is an object, and of how many characters of JSON it was."""

    size: int = 0


class ExactJSON(JSONSerializer):
    """Integers as they are, up to 64 bits; and what orjson refuses (lone surrogates, many levels): `any_json`.

    No comments: one that was stored with a document could reach into the next.
    """

    def loads(self, s: Any) -> Any:
        """Parse an answer; an object comes as `Answer`."""
        try:
            value = loaded(s)
        except ValueError as error:
            raise SerializationError(s, error) from error
        if not isinstance(value, dict):
            return value
        answer = Answer(value)
        answer.size = len(s)
        return answer

    def dumps(self, data: Any) -> Any:
        """Make a request's body; what is text or bytes already goes as it is."""
        if isinstance(data, (str, bytes)):
            return data
        try:
            return json_bytes(data)
        except TypeError as error:
            raise SerializationError(data, error) from error


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the base class uses of an answer."""

    status: int
    headers: Any
    data: bytes


@dataclass(frozen=True, slots=True)
class _Pool:
    """urllib3's connections, whose answers can be read whatever is stored: see `utf8`."""

    connections: Any

    def urlopen(self, *args: Any, **kwargs: Any) -> _Answer:
        answer = self.connections.urlopen(*args, **kwargs)
        return _Answer(answer.status, answer.headers, utf8(answer.data))

    def close(self) -> None:
        self.connections.close()


class _Connection(Urllib3HttpConnection):
    """Adds to an error whom it came from, and keeps `Warning` headers from a person's screen."""

    pool: Any

    def __init__(self, *args: Any, peer: Peer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer = peer

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: int | float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """As the base class, with `peer` on what it raises."""
        try:
            return super().perform_request(method, url, params, body, timeout, ignore, headers)
        except OpenSearchException as error:
            error.peer = self.peer  # type: ignore[attr-defined]
            raise

    def _create_urllib3_pool(self) -> None:
        super()._create_urllib3_pool()
        self.pool = _Pool(self.pool)

    def _raise_warnings(self, warning_headers: Any) -> None:
        pass


def host_options(url: str) -> dict[str, Any]:
    """Host, port, `use_ssl` and `url_prefix` of a URL that credentials may be sent to. SettingsError for any other."""
    if "@" in url:  # wherever: one that is written wrong may hold them in another place
        # Not repeated: it would put the password into a log.
        raise SettingsError("the URL holds a name or a password: give AUDITPIPE_USERNAME and AUDITPIPE_PASSWORD_FILE")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"expected a URL such as https://opensearch.example:9200, got {url!r}: {error}") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"expected a URL such as https://opensearch.example:9200, got {url!r}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise SettingsError(
            f"{url}: http:// is for this machine only, elsewhere anyone could read and alter: use https://"
        )
    return {
        "host": parts.hostname,
        "port": port or (443 if parts.scheme == "https" else 80),
        "use_ssl": parts.scheme == "https",
        "url_prefix": parts.path.strip("/"),
    }


def trusting(ca_file: str | None, name: str = "ca_file") -> ssl.SSLContext:
    """TLS that believes these authorities (PEM), the system's where none are named. `name` is the setting's."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{name} {ca_file}: expected certificates in PEM, {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context, cert_file = trusting(settings.get("ca_file")), settings.get("cert_file")
    if cert_file:
        try:
            # A password makes OpenSSL fail on an encrypted key instead of asking on the terminal.
            context.load_cert_chain(cert_file, settings.get("key_file"), password="")
        except (OSError, ssl.SSLError) as error:
            pair = f"cert_file {cert_file} and key_file {settings.get('key_file')}"
            raise SettingsError(f"{pair}: expected a certificate and its unencrypted key in PEM, {error}") from error
    return context


def credentials(settings: Settings) -> Caller:
    """Whoever the settings name: the bearer of a token, a name with its password, the holder of a certificate."""
    token, name = settings.token, settings.get("username")
    if token:
        return bearer(token, "token_file: expected one token of printable ASCII on its first line")
    if name:
        password = settings.password
        if password is None:
            raise SettingsError(f"no password for {name}: give AUDITPIPE_PASSWORD_FILE (or --password-file)")
        return basic(name, password)
    if settings.get("cert_file"):
        return Caller(f"the certificate {settings.get('cert_file')}", {})
    return Caller("a visitor without a name", {})


def bearer(token: str, problem: str = "expected a token of printable ASCII") -> Caller:
    """Whoever holds this token (RFC 6750). SettingsError with `problem` for what no header can hold."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(problem)
    return Caller("the holder of this token", {"authorization": f"Bearer {token}"})


def basic(name: str, password: str) -> Caller:
    """A name and a password (RFC 7617). SettingsError for a name that holds a colon."""
    if ":" in name:
        raise SettingsError(f"username {name!r}: HTTP basic authentication (RFC 7617) has no colon in a name")
    # Not http_auth: urllib3 encodes that as Latin-1, OpenSearch Security reads UTF-8.
    pair = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
    return Caller(name, {"authorization": f"Basic {pair}"})
