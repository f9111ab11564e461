"""One table of settings: name, environment variable, default, meaning. Read once, passed in.

A flag goes over the environment, the environment over a profile. Credentials come from where the URL came from and
are never mixed: a password in the environment is not sent to a host that a profile names.
Standard library alone, because every command and every emitter reads it.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auditpipe.schemas import ports
from auditpipe.schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `credential` ones are read only from where the URL was."""

    name: str
    meaning: str
    default: str | None = None
    credential: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"AUDITPIPE_{self.name.upper()}"

    @property
    def is_path(self) -> bool:
        """Whether it names a file or a folder, which may be of any bytes."""
        return self.name.endswith(("_file", "_dir")) or self.name in ("home", "fluent_bit")


SETTINGS: tuple[Setting, ...] = (
    Setting("url", "OpenSearch, such as https://127.0.0.1:9200"),
    Setting("username", "who asks", credential=True),
    Setting("password", "their password (environment only; a file is better)", credential=True),
    Setting("password_file", "a file that holds the password", credential=True),
    Setting("token_file", "a file that holds a bearer token, instead of name and password", credential=True),
    Setting("cert_file", "client certificate (PEM); the admin certificate provisions", credential=True),
    Setting("key_file", "its key (PEM)", credential=True),
    Setting("ca_file", "the authorities that the node's certificate is checked against (PEM)", credential=True),
    Setting("admin_dn", "subject of the admin certificate, who signs retention's records", credential=True),
    Setting("dashboards_url", "OpenSearch Dashboards, such as https://dashboards.example", credential=True),
    Setting("dashboards_ca_file", "its authorities (PEM), if they are others than ca_file", credential=True),
    Setting("forward", "host:port of Fluent Bit or the relay", default=f"127.0.0.1:{ports.FORWARD}"),
    Setting("forward_shared_key_file", "a file that holds the Forward protocol's shared key"),
    Setting("forward_ca_file", "speak TLS to the shipper and check it against these authorities (PEM)"),
    Setting("pseudonym_key_file", "keys by which personal values become pseudonyms, and are found by them"),
    Setting("spool_dir", "where events wait until they are acknowledged"),
    Setting("home", "state of the local stack: certificates, passwords, data, profiles"),
    Setting("fluent_bit", "the fluent-bit program, if it is not on PATH; `none` means: use the relay"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_Layer = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings. `values` has every name of the table; `source` says where the URL came from."""

    values: Mapping[str, str | None] = field(repr=False)  # a password may be among them
    source: str = "nowhere"
    notes: tuple[str, ...] = field(default=())

    def get(self, name: str) -> str | None:
        """The value of a setting of the table, or None."""
        return self.values[name]

    @property
    def url(self) -> str:
        """The cluster's URL. SettingsError says how to give one."""
        url = self.values["url"]
        if not url:
            raise SettingsError(
                "no cluster is named: start a local one with `auditpipe up`, or give --url, AUDITPIPE_URL or --profile"
            )
        return url

    @property
    def password(self) -> str | None:
        """The password, from its file where one is named."""
        return read_secret(self.values["password_file"], "password_file") or self.values["password"]

    @property
    def token(self) -> str | None:
        """The bearer token, from its file."""
        return read_secret(self.values["token_file"], "token_file")

    @property
    def home(self) -> Path:
        """Folder of the local stack's state."""
        return home_dir(self.values["home"])

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool."""
        return spool_dir(self.values["spool_dir"])

    @property
    def forward(self) -> tuple[str, int]:
        """(host, port) of the shipper."""
        return host_and_port(self.values["forward"] or "", "forward")


def read_secret(path: str | None, name: str) -> str | None:
    """The first line of a secret's file, or None where no file is named."""
    if not path:
        return None
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_BY_NAME[name].variable} names {path}, which can't be read: {error}") from error
    if not lines or not lines[0]:
        raise SettingsError(f"{_BY_NAME[name].variable} names {path}, whose first line is empty")
    return lines[0]


def host_and_port(text: str, name: str) -> tuple[str, int]:
    """('127.0.0.1', 24224) of `127.0.0.1:24224` or `[::1]:24224`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"{_BY_NAME[name].variable}: expected host:port such as 127.0.0.1:24224, got {text!r}")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether this address is of this machine alone. Names other than localhost are not looked up."""
    from ipaddress import ip_address  # an emitter has no use for it

    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/auditpipe` (XDG Base Directory Specification)."""
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "auditpipe"


def home_dir(value: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the local stack keeps its state."""
    return Path(value).expanduser() if value else state_dir(environment) / "local"


def spool_dir(value: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where events wait until they are acknowledged."""
    return Path(value).expanduser() if value else state_dir(environment) / "spool"


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    profile: str | None = None,
    default_profile: str = "local",
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Resolve the table.

    `profile` was asked for by name (`--profile` or AUDITPIPE_PROFILE) and must exist; `default_profile` is what
    `auditpipe up` wrote into the home, and is used if it is there. SettingsError for an unknown name in a profile, an
    unreadable file or two credentials of one kind.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    from_environment = {s.name: environment[s.variable] for s in SETTINGS if environment.get(s.variable)}
    _refuse_bytes(from_environment)
    home = home_dir(given.get("home") or from_environment.get("home"), environment)
    asked = profile or environment.get("AUDITPIPE_PROFILE")
    from_profile = read_profile(home, asked or default_profile, required=asked is not None)

    layers = (("the command line", given), ("the environment", from_environment), ("the profile", from_profile))
    source, holder = next(((label, layer) for label, layer in layers if layer.get("url")), ("nowhere", {}))
    notes = _unused(source, holder, given, from_environment)
    if asked and from_profile.get("url") and holder is not from_profile:
        over = "--url" if holder is given else "AUDITPIPE_URL"
        notes.insert(0, f"{over} goes over the URL of profile {asked}, and its credentials are not used")

    values: dict[str, str | None] = {}
    for setting in SETTINGS:
        if setting.credential:
            values[setting.name] = holder.get(setting.name)
        else:
            values[setting.name] = next(
                (layer[setting.name] for _, layer in layers if layer.get(setting.name)), setting.default
            )
    if values["password"] and values["password_file"]:
        raise SettingsError(f"{source} gives both password and password_file: give one")
    if values["token_file"] and values["username"]:
        raise SettingsError(f"{source} gives both token_file and username: give one way to sign in")
    if bool(values["cert_file"]) != bool(values["key_file"]):
        raise SettingsError(f"{source} gives only one of cert_file and key_file: give both")
    return Settings(values, source, tuple(notes))


def _refuse_bytes(from_environment: _Layer) -> None:
    for setting in SETTINGS:
        try:
            from_environment.get(setting.name, "").encode()
        except UnicodeEncodeError as error:
            if not setting.is_path:
                # Not repeated: it may be a password.
                place = f"character {error.start + 1} is none"
                raise SettingsError(f"{setting.variable}: expected text in UTF-8, and {place}") from None


def _unused(source: str, holder: _Layer, given: _Layer, from_environment: _Layer) -> list[str]:
    """Which credentials were given beside a URL of another layer, and so are not used."""
    if not holder:
        return []  # no cluster is named: nothing is signed in to
    notes = []
    for layer, names in (
        (given, {s.name: f"--{s.name.replace('_', '-')}" for s in SETTINGS}),
        (from_environment, {s.name: s.variable for s in SETTINGS}),
    ):
        unused = [names[s.name] for s in SETTINGS if s.credential and layer.get(s.name)]
        if unused and layer is not holder:
            notes.append(
                f"not used: {', '.join(unused)}; the URL is from {source}, and credentials come from where the URL"
                f" comes from: give the URL as {names['url']} with {'it' if len(unused) == 1 else 'them'}"
            )
    return notes


def profile_path(home: Path, name: str) -> Path:
    """The TOML file of a profile."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise SettingsError(f"a profile's name has letters, digits, - and _ only, got {name!r}")
    return home / "profiles" / f"{name}.toml"


def read_profile(home: Path, name: str, *, required: bool) -> dict[str, str]:
    """The settings of a profile; empty where it does not exist and need not."""
    path = profile_path(home, name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not required:
            return {}
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml"))) or "none"
        raise SettingsError(f"no profile {name!r}: expected {path}; there: {there}") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"profile {path} can't be read: {error}") from error
    for key, value in content.items():
        if key not in _BY_NAME:
            raise SettingsError(f"profile {path}: unknown setting {key!r}; known: {', '.join(_BY_NAME)}")
        if not isinstance(value, str):
            # Its value is not repeated: it may be a password.
            raise SettingsError(f"profile {path}: {key} must be a string in quotes, got {type(value).__name__}")
    return content
