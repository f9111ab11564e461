"""The pages' templates: everything set into them is escaped, and a name that is not given is an error."""

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from auditpipe.dashboards.console.filters import link
from auditpipe.dashboards.console.text import breakable, shown

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Jinja's own fails where there is no UTF-8 of a text, as of a lone surrogate.
_environment.filters |= {"shown": shown, "breakable": breakable, "urlencode": partial(quote, errors="replace")}
_environment.globals["link"] = link


def render(template: str, **values: Any) -> str:
    """A page as HTML."""
    return _environment.get_template(template).render(values)
