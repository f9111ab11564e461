"""The two one-shot services of docker-compose.yml: `python -m auditpipe.pipeline.container prepare|provision`.

`prepare`, as root and before anything else, fills the volumes: each service finds in its own one what it needs and
nothing more. Certificates and random passwords are made at the first start and kept; a certificate that is about to
expire is made anew. `provision` runs against the node that these made possible.
"""

import logging
import os
import sys
from pathlib import Path

from auditpipe.pipeline import principals, provision, rest, roles
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.fluent_bit.launcher import PASSWORD_FILE
from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.local.files import make_private, password_file, write_private
from auditpipe.pipeline.plan import Request
from auditpipe.schemas.errors import AuditpipeError, UsageError
from auditpipe.schemas.settings import load, read_secret

log = logging.getLogger(__name__)

#: `opensearch` in the images of OpenSearch and Dashboards; ours and Fluent Bit run as it too.
USER_ID = 1000
#: What the node is called in the certificate: in the compose network, and on the host.
NAMES = ("opensearch", *certificates.LOCAL_NAMES)

SHIPPER = provision.WRITER_USER
SUPER_ADMIN = "superadmin"
DASHBOARDS = "dashboards"
#: Static role of the Security plugin for the server of Dashboards.
_DASHBOARDS_ROLE = "kibana_server"


def prepare(volumes: Path) -> None:
    """Fill the volumes mounted below `volumes`."""
    signed = certificates.ensure(volumes / "authority", NAMES)
    node, shipper, dashboards, super_admin = (
        volumes / name for name in ("node", "shipper", "dashboards", "super-admin")
    )
    for folder in (signed.ca.parent, node, shipper, dashboards, super_admin, volumes / "buffer", volumes / "snapshots"):
        make_private(folder, USER_ID)
        folder.chmod(0o700)
    for folder in (node, shipper, dashboards, super_admin):
        _give(signed.ca, folder / "ca.pem")
    for path in (signed.node.certificate, signed.node.key):
        _give(path, node / path.name)
    for path in (password_file(shipper / PASSWORD_FILE), password_file(super_admin / "password")):
        os.chown(path, USER_ID, USER_ID)
    _dashboards_secrets(dashboards)
    for path in signed.ca.parent.iterdir():
        os.chown(path, USER_ID, USER_ID)


def apply(volumes: Path, url: str) -> None:
    """What `auditpipe provision` does, and the user that Dashboards itself signs in as."""
    names = {"ca_file": "ca.pem", "cert_file": "admin.pem", "key_file": "admin-key.pem"}
    flags: dict[str, str | None] = {flag: str(volumes / "authority" / name) for flag, name in names.items()}
    settings = load({"url": url, **flags})
    client = connect(settings, opaque_id=tool_id("provision"))
    accounts = (
        provision.writer(SHIPPER, read_secret(str(volumes / "shipper" / PASSWORD_FILE), "password_file")),
        provision.super_admin(SUPER_ADMIN, read_secret(str(volumes / "super-admin" / "password"), "password_file")),
    )
    options = provision.Options(accounts=accounts, sign_in=provision.sign_in_with(settings))
    report = provision.provision(client, options)
    for step in report.done:
        log.info("%s %s: %s", step.kind, step.name, step.sentence)
    log.info("%s", report.write_once.sentence)
    password = read_secret(str(volumes / "dashboards" / "password"), "password_file")
    body = {
        "password": password,
        "description": f"{roles.MARK}the server of Dashboards",
        "opendistro_security_roles": [_DASHBOARDS_ROLE],
    }
    rest.send(client, Request("PUT", principals.user_path(DASHBOARDS), body))


def _give(source: Path, target: Path) -> None:
    """A copy for one service alone."""
    write_private(target, source.read_bytes(), USER_ID)


def _dashboards_secrets(folder: Path) -> None:
    """A second configuration file for Dashboards: with these values, and in no environment."""
    password = read_secret(str(password_file(folder / "password")), "password_file")
    cookie = read_secret(str(password_file(folder / "cookie")), "password_file")
    lines = (
        f'opensearch.username: "{DASHBOARDS}"',
        f'opensearch.password: "{password}"',
        f'opensearch_security.cookie.password: "{cookie}"',
    )
    write_private(folder / "secrets.yml", ("\n".join(lines) + "\n").encode(), USER_ID)
    for name in ("password", "cookie"):
        os.chown(folder / name, USER_ID, USER_ID)


def main(arguments: list[str]) -> int:
    """Run one of the two; its exit code."""
    logging.basicConfig(level=logging.INFO, format="auditpipe: %(message)s", stream=sys.stderr)
    logging.getLogger("opensearch").setLevel(logging.WARNING)
    volumes = Path(os.environ.get("AUDITPIPE_VOLUMES", "/volumes"))
    try:
        if arguments == ["prepare"]:
            prepare(volumes)
        elif len(arguments) == 2 and arguments[0] == "provision":
            apply(volumes, arguments[1])
        else:
            raise UsageError("expected `prepare` or `provision URL`")
    except AuditpipeError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
