"""The profiles that `up` writes, so that the other commands find the stack: local, operator, shipper."""

import json
from collections.abc import Mapping

from auditpipe.pipeline.local.certificates import Certificates
from auditpipe.pipeline.local.files import write_private
from auditpipe.pipeline.local.home import Home
from auditpipe.schemas.settings import profile_path

SUPER_ADMIN = "superadmin"
SHIPPER = "audit_shipper"


def write(home: Home, certificates: Certificates, url: str, forward: str) -> None:
    """`local` reads as the first Super Admin, `operator` has the admin certificate, `shipper` only writes."""
    common = {"url": url, "ca_file": str(certificates.ca), "forward": forward}
    signed_in = {
        name: {**common, "username": name, "password_file": str(home.secrets / name)} for name in (SUPER_ADMIN, SHIPPER)
    }
    operator = {
        **common,
        "cert_file": str(certificates.admin.certificate),
        "key_file": str(certificates.admin.key),
    }
    _write(
        home, "local", "the first Super Admin: what search, tail, show, export and access use", signed_in[SUPER_ADMIN]
    )
    _write(home, "operator", "the admin certificate, which passes write-once: provision and doctor", operator)
    _write(home, "shipper", "what the relay and the dead-letter replayer write with", signed_in[SHIPPER])


def _write(home: Home, name: str, meaning: str, values: Mapping[str, str]) -> None:
    # A JSON string is a TOML basic string, but for lone surrogates and DEL, which `preflight.check_path` refuses.
    lines = [
        f"# Made by `auditpipe up`: {meaning}.",
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()),
    ]
    write_private(profile_path(home.root, name), ("\n".join(lines) + "\n").encode())
