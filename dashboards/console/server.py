"""Serving the console: where it listens, under which names, with TLS or without."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from auditpipe.dashboards.console.app import application
from auditpipe.dashboards.console.proxy import Proxy
from auditpipe.dashboards.console.visit import Console, Record
from auditpipe.pipeline.private import read_private
from auditpipe.schemas import ports
from auditpipe.schemas.errors import NotFinished, SettingsError
from auditpipe.schemas.settings import Settings, is_loopback

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, to refuse it where people give no name
_STOP_S = 5


@dataclass(frozen=True, slots=True)
class Listen:
    """`public_url`: how people reach it, where that is not its own address (a name, a proxy in front of it)."""

    host: str = "127.0.0.1"
    port: int = ports.CONSOLE
    cert_file: Path | None = None
    key_file: Path | None = None
    public_url: str | None = None

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS itself."""
        return self.cert_file is not None

    @property
    def secure(self) -> bool:
        """Whether people reach it over TLS."""
        return urlsplit(self.public_url).scheme == "https" if self.public_url else self.tls

    @property
    def url(self) -> str:
        """What to type into a browser."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which a request is taken."""
        named = urlsplit(self.url).hostname or ""
        return frozenset({named}) | (_LOOPBACK if is_loopback(self.host) else frozenset())


def check(listen: Listen) -> None:
    """SettingsError for what would send passwords in the clear, or can't be used."""
    if (listen.cert_file is None) != (listen.key_file is None):
        raise SettingsError("only one of --tls-cert-file and --tls-key-file is given: give both")
    for path in filter(None, (listen.cert_file, listen.key_file)):
        if not path.is_file():
            raise SettingsError(f"{path}: no such file: expected a certificate and its key in PEM")
    if listen.key_file is not None:
        read_private(listen.key_file, "--tls-key-file")
    if not is_loopback(listen.host) and not listen.tls:
        raise SettingsError(
            f"--listen {listen.host}: people send passwords, and without TLS anyone on the way reads them: give"
            " --tls-cert-file and --tls-key-file, or listen on loopback behind a proxy that speaks TLS"
        )
    if listen.host in _ANYWHERE and not listen.public_url:
        raise SettingsError(f"--listen {listen.host}: give --public-url, the address under which people reach it")
    if listen.public_url:
        _check_public(listen)


def _check_public(listen: Listen) -> None:
    parts = urlsplit(listen.public_url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise SettingsError(f"--public-url: expected https://audit.example, without a path, got {listen.public_url!r}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise SettingsError(f"--public-url {listen.public_url}: passwords need https://")


def forwarders(listen: Listen, proxy: Proxy | None) -> tuple[str, ...]:
    """Whose word is taken for where a request comes from: that of proxies that were named, and where people reach the
    console by another address than its own, that of this machine.
    """
    named = tuple(map(str, proxy.networks)) if proxy else ()
    return (*(("127.0.0.1", "::1") if listen.public_url else ()), *named)


def serve(
    settings: Settings, listen: Listen, record: Record, started: Callable[[], None], proxy: Proxy | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. SettingsError, NotFinished (the address is taken)."""
    check(listen)
    settings.url  # noqa: B018 - said now if there is none, and not at the first sign-in
    console = Console(settings, record, listen.secure, proxy=proxy)
    config = uvicorn.Config(
        application(console, listen.hosts, forwarders(listen, proxy)),
        ssl_certfile=listen.cert_file,
        ssl_keyfile=listen.key_file,
        proxy_headers=False,  # the application looks at them itself: it has to know the proxy's own address too
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_STOP_S,
    )
    # uvicorn finishes what it is at, and then raises the signal again: by default that would end the process before
    # the caller has closed its audit log.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with _listening(listen) as listener:
        started()
        uvicorn.Server(config).run(sockets=[listener])


def _listening(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family)
    except OSError as error:
        raise NotFinished(
            f"{listen.host}:{listen.port} can't be listened on: {error.strerror}: is a console running, "
            "or name another port with --listen"
        ) from error
