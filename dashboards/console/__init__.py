"""The console: a small web page where Admins look, served by `auditpipe console`.

Every page is made on the server and works without JavaScript. Whoever signs in does so with their own OpenSearch name
and password, and each request to the node is theirs: Security decides what they see, the console adds nothing to it.
"""

from pathlib import Path


def actions_file() -> Path:
    """The actions that a console puts on record beside those of the catalogue, for `AuditLog(actions=...)`."""
    return Path(__file__).with_name("actions.json")
