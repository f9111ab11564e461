"""A real Fluent Bit in a folder of its own, for tests: started, killed, started again."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auditpipe.emitters.forward import ForwardSender, entry
from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.pipeline.local import certificates
from auditpipe.schemas.identity import parse_time
from tests.conftest import free_port
from tests.pipeline.relay.fake import FakeOpenSearch
from tests.waiting import until

Document = dict[str, Any]


class RunningFluentBit:
    """One program with the product's own configuration."""

    def __init__(self, program: str, launch: launcher.Launch, password: str) -> None:
        self.program, self.launch = program, launch
        launcher.prepare(launch, password)
        self.log = launch.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        environment = {"PATH": os.environ["PATH"], **launcher.environment(self.launch)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                launcher.command(self.program),
                **{"cwd": self.launch.folder, "env": environment, "stdout": log, "stderr": log},
            )
        until(self._listens)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        self._end(signal.SIGTERM)

    def send(self, documents: list[Document], times: list[int] | None = None) -> None:
        """One chunk, acknowledged when this returns."""
        times = times or [parse_time(document["@timestamp"]) for document in documents]
        entries = b"".join(entry(moment, document) for moment, document in zip(times, documents, strict=True))
        sender = ForwardSender(*self.launch.forward, timeout=120)
        try:
            sender.deliver(entries, len(documents))
        finally:
            sender.disconnect()

    def rejected(self) -> list[Path]:
        """The chunks that were given up."""
        return sorted(self.launch.rejected.glob("*.flb"))

    def waiting(self) -> list[Path]:
        """The chunks that are still to be sent."""
        return [path for path in self.launch.storage.rglob("*.flb") if path.parent != self.launch.rejected]

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with socket.socket() as probe:
            return probe.connect_ex(self.launch.forward) == 0

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=30)


@contextmanager
def shipping_to(
    fake: FakeOpenSearch, authority: certificates.Certificates, program: str, folder: Path, retries: int = 1000
) -> Iterator[RunningFluentBit]:
    """A Fluent Bit that ships to the fake node."""
    launch = launcher.Launch(
        **{"folder": folder, "opensearch_url": f"https://127.0.0.1:{fake.port}", "ca_file": authority.ca},
        **{"user": "x", "forward": ("127.0.0.1", free_port()), "http_port": free_port(), "retries": retries},
    )
    shipper = RunningFluentBit(program, launch, "password")
    shipper.log = folder.with_name(f"{folder.name}.log")  # not on a disk that is made full
    shipper.start()
    try:
        yield shipper
    finally:
        shipper.kill()


class Gate:
    """A TCP forwarder on a port of its own, which can be shut: an OpenSearch that goes away and comes back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = free_port()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Listen and forward."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse new connections and cut those that are open."""
        for one in [self._listener, *self._open]:
            if one is not None:
                with_no_error(lambda one=one: one.shutdown(socket.SHUT_RDWR))
                one.close()
        self._listener, self._open = None, []

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def with_no_error(call: Callable[[], object]) -> None:
    """Call it; a socket that is gone already is as good as shut."""
    try:
        call()
    except OSError:
        return


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return
    finally:
        for one in (source, sink):
            with_no_error(lambda one=one: one.shutdown(socket.SHUT_RDWR))
