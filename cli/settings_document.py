"""The table of docs/settings.md: each setting, its variable, its flag and its default."""

from collections.abc import Iterator

from auditpipe.cli import reference
from auditpipe.schemas.generated_part import with_part
from auditpipe.schemas.settings import SETTINGS, Setting

#: Where a default is no constant.
_DEFAULTS = {
    "spool_dir": "`$XDG_STATE_HOME/auditpipe/spool`",
    "home": "`$XDG_STATE_HOME/auditpipe/local`",
    "fluent_bit": "`fluent-bit` on PATH",
    "admin_dn": "`CN=auditpipe-admin`",
    "dashboards_ca_file": "as `ca_file`",
}


def with_table(text: str) -> str:
    """The document with the table between its marks made anew."""
    return with_part(text, _table())


def _table() -> Iterator[str]:
    flags = reference.flags()
    yield "| variable | flag | in a profile | default | meaning |"
    yield "|---|---|---|---|---|"
    for setting in SETTINGS:
        flag = f"--{setting.name.replace('_', '-')}"
        shown = f"`{flag}`" if flag in flags else ""
        mark = " ¹" if setting.credential else ""
        yield f"| `{setting.variable}`{mark} | {shown} | `{setting.name}` | {_default(setting)} | {setting.meaning} |"


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.default else _DEFAULTS.get(setting.name, "")
