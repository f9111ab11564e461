"""The real parts of a campaign in a home of their own: node, shipper, replayer, and a network between them."""

import random
import shutil
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from opensearchpy import OpenSearch

from auditpipe.pipeline.client import connect
from auditpipe.pipeline.local import cluster, node, process, profiles, shipper
from auditpipe.pipeline.local import stack as local
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.node import NodeOptions
from auditpipe.pipeline.local.readiness import Admin
from auditpipe.pipeline.local.shipper import ShipperOptions
from auditpipe.schemas.errors import AuditpipeError, NotFinished
from auditpipe.schemas.settings import Settings, load, profile_path
from tests.proxy import Proxy

HEAP = "768m"
NODE_TRIES = 3
#: Below those that the system gives to outgoing connections. One of these could take the port of a part that is down: a
#: client that tries that port again and again ends up connected to itself, and the part can't start.
_PORTS = range(15_000, 32_000)


def own_port() -> int:
    """A port of 127.0.0.1 that nobody uses, and that no outgoing connection will take while its part is down."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class World:
    """Emitters reach the shipper, and shipper and replayer the node, through proxies that can be cut and stalled.

    `locks` has one for each part, held while a fault keeps it down: nobody else brings it back meanwhile.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.program = shipper.choose(kind, load())
        self.kind = shipper.RELAY if self.program is None else shipper.FLUENT_BIT
        self.node_options = NodeOptions(own_port(), HEAP)
        self._shipper_options = ShipperOptions(own_port(), own_port())
        self.forward = Proxy(("127.0.0.1", self._shipper_options.port))
        self.opensearch = Proxy(("127.0.0.1", self.node_options.port))
        self._given_up = False
        self._starts = {
            node.NAME: self.start_node,
            shipper.NAME: self.start_shipper,
            shipper.REPLAYER: self.start_replayer,
        }
        self.locks = {name: threading.Lock() for name in self._starts}

    def start(self) -> None:
        """From nothing to a stack that takes events, as `auditpipe up` makes it."""
        made = self.start_node()
        cluster.provision(self.home, made, self.forward_address)
        self._lead_through_the_proxy(made.url)
        self.admin = Admin(self.node_options.port, made.certificates)
        self._ca = made.certificates.ca
        self.start_shipper()
        self.start_replayer()

    @property
    def forward_address(self) -> str:
        """Where emitters send to."""
        return f"127.0.0.1:{self.forward.port}"

    def operator(self) -> OpenSearch:
        """A client past the proxy, with the admin certificate."""
        return connect(self._settings(profile="operator"))

    def writer(self) -> OpenSearch:
        """A client past the proxy, as the shipper signs in."""
        secret = str(self.home.secrets / profiles.SHIPPER)
        url = self._settings(profile="operator").url
        return connect(self._settings(url=url, ca_file=self._ca, username=profiles.SHIPPER, password_file=secret))

    def _settings(self, *, profile: str | None = None, **flags: object) -> Settings:
        given = {name: str(value) for name, value in flags.items()}
        return load({"home": str(self.home.root), **given}, profile=profile, environment={})

    def start_node(self) -> cluster.Cluster:
        """Start it unless it runs; returns when it answers. Tried again as by a supervisor: a busy machine is slow."""
        for _ in range(NODE_TRIES - 1):
            try:
                return cluster.ensure(self.home, self.node_options)
            except NotFinished:
                if self._given_up:
                    raise
        return cluster.ensure(self.home, self.node_options)

    def give_up(self) -> None:
        """The campaign is broken off: kill the node, so that nobody waits for it any more."""
        self._given_up = True
        self.signal(node.NAME, signal.SIGKILL)

    def start_shipper(self) -> None:
        """Start it; returns when it listens, or is slow to."""
        url = f"https://127.0.0.1:{self.opensearch.port}"
        try:
            shipper.start(self.home, url, self._ca, self._shipper_options, self.program)
        except NotFinished:
            if self.record(shipper.NAME).process() is None:
                raise

    def start_replayer(self) -> None:
        """Start it."""
        shipper.start_replayer(self.home)

    def record(self, name: str) -> process.Record:
        """What was started last under that name."""
        found = process.read(self.home.run, name)
        assert found is not None, f"{name} was never started"
        return found

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part; after SIGKILL it is gone when this returns."""
        record = self.record(name)
        running = record.process()
        if running is not None:
            running.send_signal(number)
        if number is signal.SIGKILL:
            process.stop(record)  # collects it

    def stop(self, name: str) -> None:
        """End a part as `auditpipe down` does."""
        process.stop(self.record(name))

    def tend(self) -> list[str]:
        """What a supervisor does: start what has died, and tell what it was. A part that a fault holds is left."""
        died = []
        for name, lock in self.locks.items():
            if not lock.acquire(blocking=False):
                continue
            try:
                record = self.record(name)
                how = process.reap(record.pid)
                if record.process() is None:
                    said = process.last_lines(Path(record.log), 5)
                    died.append(f"{name} ended by itself ({how or 'it is not known how'}): {said}")
                    self._starts[name]()
            except AuditpipeError as error:
                died.append(f"{name} can't be started again: {error}")
            finally:
                lock.release()
        return died

    def down(self) -> None:
        """Stop everything, also what is suspended, and keep the folder."""
        self.forward.flow()
        self.opensearch.flow()
        local.down(self.home)
        self.forward.cut()
        self.opensearch.cut()

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove all that a campaign has made in a folder, the node's part that lies outside of it too."""
        local.purge(Home(folder / "home"))
        shutil.rmtree(folder)

    def _lead_through_the_proxy(self, url: str) -> None:
        """Shipper and replayer alone: what checks the result goes straight to the node."""
        path = profile_path(self.home.root, "shipper")
        direct, proxied = f":{urlsplit(url).port}", f":{self.opensearch.port}"
        path.write_text(path.read_text(encoding="utf-8").replace(direct, proxied), encoding="utf-8")
