"""`python -m auditpipe.examples.accounts`: the application by itself, on loopback."""

import argparse
import os
import secrets
import sys
from pathlib import Path

import uvicorn

from auditpipe.examples.accounts.app import application, audit_log
from auditpipe.examples.accounts.store import sample
from auditpipe.schemas import settings
from auditpipe.schemas.errors import AuditpipeError


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m auditpipe.examples.accounts", description=__doc__)
    parser.add_argument("--port", type=int, default=8300, help="on 127.0.0.1 (default: 8300)")
    port = parser.parse_args(arguments).port
    try:
        # The local stack's shipper, wherever `auditpipe up` has put it.
        forward = settings.load().get("forward")
        password_file = settings.state_dir() / "examples" / "accounts.password"
        password = _password(password_file)
        with audit_log(forward=forward) as audit:
            sys.stderr.write(f"http://127.0.0.1:{port}  users: ada, tess  password: in {password_file}\n")
            uvicorn.run(application(audit, sample(password)), host="127.0.0.1", port=port, log_level="warning")
    except AuditpipeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _password(path: Path) -> str:
    """The password in this file, made at the first start."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(12) + "\n")
    return path.read_text(encoding="ascii").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
