"""Where the local stack keeps its things, and who may reach them.

As an ordinary user everything is in the home (`$AUDITPIPE_HOME`, mode 0700) and the cache
(`$XDG_CACHE_HOME/auditpipe`), and the node runs as that user. OpenSearch refuses to run as root: for root the node
gets a user id of its own without an entry in passwd, UNPRIVILEGED, and must reach its files. Where the home or the
cache lies in a folder that is closed to others, such as /root or a test's temporary folder, the node's part lives in
/var/lib/auditpipe/<hash of the home> and /var/cache/auditpipe instead, and `<home>/opensearch` is a link to it.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.local.files import make_passable
from auditpipe.schemas.errors import SettingsError

#: In the range that systemd gives to DynamicUser= (61184 to 65519): no system or person has an id there.
UNPRIVILEGED = 61742


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one local stack."""

    root: Path

    @property
    def profiles(self) -> Path:
        """Settings for the other commands."""
        return self.root / "profiles"

    @property
    def certificates(self) -> Path:
        """The authority, the node's and the admin's certificates and keys."""
        return self.root / "certs"

    @property
    def secrets(self) -> Path:
        """Passwords, one a file, mode 0600."""
        return self.root / "secrets"

    @property
    def opensearch(self) -> Path:
        """The node's config, data, logs and temporary files; a link where the node could not reach this home."""
        return self.root / "opensearch"

    @property
    def fluent_bit(self) -> Path:
        """Fluent Bit's buffer and its rejected chunks."""
        return self.root / "fluent-bit"

    @property
    def rejected(self) -> Path:
        """Chunks that Fluent Bit has given up, as fluent-bit.yaml names it."""
        return self.fluent_bit / "storage" / "rejected"

    @property
    def dead_letters(self) -> Path:
        """What the relay found that OpenSearch will never take."""
        return self.root / "dead-letters"

    @property
    def run(self) -> Path:
        """One file a process: its id, start time and addresses."""
        return self.root / "run"

    @property
    def fluent_bit_log(self) -> Path:
        """What Fluent Bit says."""
        return self.logs / "fluent-bit.log"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.root / "logs"

    @property
    def demo(self) -> Path:
        """The spool of the demo's application."""
        return self.root / "demo"

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of them."""
        return (
            self.profiles,
            self.certificates,
            self.secrets,
            self.opensearch,
            self.fluent_bit,
            self.dead_letters,
            self.run,
            self.logs,
            self.demo,
        )

    def make(self) -> None:
        """Make the folders, each for its owner alone; as root the home itself may be passed through, not listed.

        SettingsError if the home is someone else's: their files and ours would shut each other out.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = self.root.stat().st_uid
        if owner != os.geteuid():
            raise SettingsError(
                f"the home {self.root} belongs to user id {owner} and you are {os.geteuid()}: run this as that user, "
                "or give another --home"
            )
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self._make_node_folder()
        for folder in self.folders:
            folder.mkdir(exist_ok=True, mode=0o700)
        if exposed := self.open_to_others():
            named = " ".join(map(str, exposed))
            raise SettingsError(
                f"other users of this machine can reach what is for its owner alone: chmod go= {named}; and renew the "
                "secrets in there, if somebody may have read them"
            )

    def open_to_others(self) -> list[Path]:
        """What is there, holds a secret or an event, and can be read by others."""
        return [path for path in self.private() if _is_open(path)]

    def private(self) -> list[Path]:
        """Folders that nobody else may look into, as far as they are there, and what is in them."""
        folders = (self.secrets, self.certificates, self.profiles, self.fluent_bit, self.dead_letters)
        there = [path for folder in folders if folder.exists() for path in (folder, *folder.iterdir())]
        return [*there, *(folder for folder in (self.opensearch, self.run, self.logs, self.demo) if folder.exists())]

    def _make_node_folder(self) -> None:
        if os.geteuid() != 0 or reachable(self.root):
            self.opensearch.mkdir(exist_ok=True, mode=0o700)
        else:
            outside = node_folder_outside(self.root)
            make_passable(outside.parent)
            outside.mkdir(exist_ok=True, mode=0o700)
            if not self.opensearch.is_symlink():
                self.opensearch.symlink_to(outside)
        if os.geteuid() == 0:
            os.chown(self.opensearch, UNPRIVILEGED, UNPRIVILEGED)


def _is_open(path: Path) -> bool:
    """Other people may read it. Within a folder that is closed to them only what holds a secret must be closed too."""
    try:
        closed = path.stat().st_mode & 0o077 == 0
    except FileNotFoundError:  # it is being sent, or written anew
        return False
    if closed:
        return False
    secret = path.parent.name in ("secrets", "profiles") or path.name.endswith("-key.pem")
    return secret or path.is_dir() or path.parent.stat().st_mode & 0o077 != 0


def node_folder_outside(home: Path) -> Path:
    """Where root keeps the node's part of a home that the node can't reach."""
    name = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:12]
    return Path("/var/lib/auditpipe") / name


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/auditpipe`, or /var/cache/auditpipe where root's node could not read that."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auditpipe"
    if os.geteuid() == 0 and not reachable(own):
        return Path("/var/cache/auditpipe")
    return own


def reachable(path: Path, uid: int = UNPRIVILEGED) -> bool:
    """Whether `uid` may pass through this folder and all above it. What does not exist yet is made passable."""
    for folder in (path.absolute(), *path.absolute().parents):
        try:
            status = folder.stat()
        except FileNotFoundError:
            continue
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXGRP if status.st_gid == uid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True
