"""The node of a home, from nothing to provisioned."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.local import certificates, download, node, process, profiles
from auditpipe.pipeline.local.artifacts import read_lock
from auditpipe.pipeline.local.assemble import assemble
from auditpipe.pipeline.local.certificates import Certificates
from auditpipe.pipeline.local.files import locked, make_passable, password_file
from auditpipe.pipeline.local.home import Home, cache_dir
from auditpipe.pipeline.local.java import java
from auditpipe.pipeline.local.node import NodeOptions
from auditpipe.pipeline.local.preflight import check_disk, check_memory, check_path, check_port, heap_bytes
from auditpipe.pipeline.local.readiness import Admin
from auditpipe.pipeline.local.watch import Watch
from auditpipe.schemas.errors import OutOfReach, UsageError
from auditpipe.schemas.settings import load, read_secret

#: A node unpacks nothing but the Security plugin; jars are links.
_UNPACKED = 80 * 2**20
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running node. `fresh`: this call has started it."""

    record: process.Record
    certificates: Certificates
    fresh: bool

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.record.address


def ensure(home: Home, options: NodeOptions, *, port_given: bool = True, watch: Watch | None = None) -> Cluster:
    """Start the node of this home unless it runs, and return when Security has been initialised.

    UsageError if it runs at another port than the one asked for (`port_given`). Whatever stands in the way of a start
    is a NotFinished of its own; see `preflight`.
    """
    watch = watch or Watch()
    heap_bytes(options.heap)
    check_path(home.root)
    home.make()
    signed = certificates.ensure(home.certificates)
    record = process.read(home.run, node.NAME)
    running = record is not None and record.process() is not None
    if record is not None and running and signed.renewed:
        watch.say("The node's certificate is new: restarting OpenSearch.")
        process.stop(record)
        running = False
    if record is None or not running:
        check_port(options.port, "--port")
        check_memory(options.heap)
        check_disk(home.opensearch.resolve())
        distribution = obtain(cache_dir(), watch)
        watch.say(f"Starting OpenSearch at https://127.0.0.1:{options.port}")
        record = node.start(home, cache_dir(), distribution, node.prepare(home, signed), options)
    elif port_given and record.address != f"https://127.0.0.1:{options.port}":
        raise UsageError(f"OpenSearch of this home runs at {record.address}: `auditpipe down` first, or no --port")
    node.wait(record, Admin(record.port, signed), home.opensearch.resolve())
    return Cluster(record, signed, not running)


def obtain(cache: Path, watch: Watch) -> Path:
    """The node's programs: downloaded where they are not in the cache, checked, laid out. One process at a time."""
    lock = read_lock()
    make_passable(cache)
    with locked(cache / "lock", lambda: watch.say(f"Waiting for another process that fills {cache}")):
        # What a killed process left half done: whoever holds the lock is alone here.
        shutil.rmtree(cache / "tmp", ignore_errors=True)
        java(cache)
        wanted = download.missing(cache, lock)
        if wanted:
            size = sum(artifact.size for artifact in wanted)
            check_disk(cache, 2 * size + _UNPACKED)
            watch.say(f"Downloading OpenSearch {lock.version}: {len(wanted)} files, {size / 1e6:.0f} MB, into {cache}")
            with watch.download(size) as progress:
                download.fetch(cache, wanted, progress)
        return assemble(cache, lock)


def write_profiles(home: Home, cluster: Cluster, forward: str) -> dict[str, str]:
    """Profiles and passwords, those that are not there yet. Returns the passwords by user."""
    names = (profiles.SUPER_ADMIN, profiles.SHIPPER)
    secrets = {name: read_secret(str(password_file(home.secrets / name)), "password_file") or "" for name in names}
    profiles.write(home, cluster.certificates, cluster.url, forward)
    return secrets


def wait_for_shards(home: Home, cluster: Cluster, watch: Watch) -> None:
    """Return when all that is stored can be searched. Ended, with the end of the log, if that does not come."""
    admin = Admin(cluster.record.port, cluster.certificates)
    node.wait_for_shards(cluster.record, admin, home.opensearch.resolve(), watch.say)


def provision(home: Home, cluster: Cluster, forward: str, watch: Watch | None = None) -> None:
    """Profiles, passwords, and then what `auditpipe provision` does, with the shipper's and the first Super Admin's
    passwords. They travel in a request that the admin certificate signs for, never on a command line.

    A node that has just started may be slow to answer, most of all beside a backlog of events: it is tried again for as
    long as a start may take. OutOfReach after that, Ended if the node dies.
    """
    # opensearch-py is not imported before it is needed: `up` on a running stack and `down` go without.
    from auditpipe.pipeline import provision as provisioning
    from auditpipe.pipeline.client import connect, tool_id

    secrets = write_profiles(home, cluster, forward)
    settings = load({"home": str(home.root)}, profile="operator", environment={})
    options = provisioning.Options(
        accounts=(
            provisioning.writer(profiles.SHIPPER, secrets[profiles.SHIPPER]),
            provisioning.super_admin(profiles.SUPER_ADMIN, secrets[profiles.SUPER_ADMIN]),
        ),
        sign_in=provisioning.sign_in_with(settings),
    )
    client, deadline = connect(settings, opaque_id=tool_id("up")), time.monotonic() + node.START_TIMEOUT_S
    while True:
        try:
            provisioning.provision(client, options)
            return
        except OutOfReach as error:
            node.check_alive(cluster.record, home.opensearch.resolve())
            if time.monotonic() > deadline:
                raise
            (watch or Watch()).say(f"Provisioning again: {error}")
            time.sleep(_RETRY_S)
