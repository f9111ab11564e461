"""Options that many commands share: how to reach a cluster, and which events are meant."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

import click

from auditpipe.pipeline.query import Filters, moment
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.pseudonyms import read_keys
from auditpipe.schemas.settings import SETTINGS, Settings, load

_CONNECTION: tuple[tuple[str, str, str], ...] = (
    ("url", "URL", "OpenSearch, such as https://127.0.0.1:9200."),
    ("username", "NAME", "Who asks."),
    ("password-file", "FILE", "Holds the password on its first line."),
    ("token-file", "FILE", "Holds a bearer token, instead of name and password."),
    ("ca-file", "FILE", "Authorities that the node's certificate is checked against (PEM)."),
    ("cert-file", "FILE", "Client certificate (PEM)."),
    ("key-file", "FILE", "Its key (PEM)."),
    ("home", "DIR", "State of the local stack."),
)


def output_option(*forms: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --output; the command gets one of these forms, the first unless told otherwise, as `output: str`."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Form of the output.",
    )


def stack_home(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --home for what starts, stops and shows the local stack, which no profile names."""
    return click.option("--home", metavar="DIR", show_default="AUDITPIPE_HOME, else in XDG_STATE_HOME", help=text)


#: For commands that filter: a setting more.
PSEUDONYM_KEYS = ("pseudonym-key-file", "FILE", "Keys of pseudonyms: people are found by them too.")


def connection_options(
    *, default_profile: str = "local", also: tuple[tuple[str, str, str], ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the connection flags; the command gets them resolved, as `settings: Settings`.

    `default_profile` is the one of the local stack that is used where neither flag, environment nor --profile names
    a cluster: `local` reads, `operator` is the admin certificate. Put it nearest to
    the function: help lists it last. `also` are further settings as flags.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, profile: str | None, **kwargs: Any) -> Any:
            names = [name.replace("-", "_") for name, _, _ in (*_CONNECTION, *also)]
            flags = {name: kwargs.pop(name) for name in names}
            settings = load(flags, profile=profile, default_profile=default_profile)
            _refuse_unused(flags, settings)
            say_notes(settings)
            return function(*args, settings=settings, **kwargs)

        decorated = click.option("--profile", metavar="NAME", help="Settings by that name, from the home.")(call)
        for name, metavar, text in reversed((*also, *_CONNECTION)):
            decorated = click.option(f"--{name}", metavar=metavar, help=text)(decorated)
        return decorated

    return decorate


def _refuse_unused(flags: Mapping[str, str | None], settings: Settings) -> None:
    """Who types credentials means them: going on as someone else would look as if they had been taken."""
    given = [s.name for s in SETTINGS if s.credential and flags.get(s.name)]
    if given and not flags.get("url"):
        url = settings.get("url") or "URL"
        whole = {"url": "URL" if "@" in url else url, "ca_file": settings.get("ca_file")}  # no password of a URL
        beside = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in whole.items() if value)
        raise UsageError(
            f"--{given[0].replace('_', '-')} goes with --url, because credentials come from where the URL comes from: "
            f"add {beside}"
        )


def say_notes(settings: Settings) -> None:
    """What the person should know about where their settings came from."""
    for note in settings.notes:
        click.echo(f"auditpipe: note: {note}", err=True)


def with_pseudonyms(filters: Filters, settings: Settings) -> Filters:
    """The same filters, which also find what has become a pseudonym, where a key file is named. Reads it."""
    path = settings.get("pseudonym_key_file")
    return replace(filters, keys=read_keys(path)) if path else filters


_FILTERS: tuple[tuple[str, str, str], ...] = (
    ("actor", "ID", "Who did it: id, name, full name or email."),
    ("user", "ID", "Anyone involved: actor, target or other; id, name or email."),
    ("target", "TYPE[:ID]", "What it was done to: team, or team:t4."),
    ("changed", "FIELD", "A field that was changed: last_name; address finds address.city."),
    ("outcome", "OUTCOME", "success, failure or unknown."),
    ("reason", "REASON", "Why it failed: bad_credentials."),
    ("ip", "ADDRESS|CIDR", "From where: 192.0.2.7 or 192.0.2.0/24."),
    ("org", "ID", "Organization."),
    ("service", "NAME", "Application."),
    ("session", "ID", "Session of the actor."),
    ("request", "ID", "HTTP request or trace."),
)
_TIMES: tuple[tuple[str, str, str], ...] = (
    ("since", "TIME", "From then on: 2026-01-31T23:59 (without a zone UTC), 2026-01-31, 2026-01, or 24h, 7d ago."),
    ("until", "TIME", "Up to, not including, then."),
)


def filter_options(
    *, until: bool = True, without: frozenset[str] = frozenset()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the filters; the command gets them checked, as `filters: Filters`. All that are given must hold.

    `without` are those whose names the command has for something else.
    """
    offered = tuple(one for one in (*_FILTERS, *(_TIMES if until else _TIMES[:1])) if one[0] not in without)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, action: tuple[str, ...], query: str | None, **kwargs: Any) -> Any:
            given = {name: kwargs.pop(name) for name, _, _ in offered}
            return function(*args, filters=_filters(action, query, given), **kwargs)

        decorated = click.option("--query", "-q", metavar="LUCENE", help="Query string, such as 'message:Dow'.")(call)
        for name, metavar, text in reversed(offered):
            decorated = click.option(f"--{name}", metavar=metavar, help=text)(decorated)
        return click.option(
            "--action", multiple=True, metavar="ACTION", help="user.user.updated, or user.team.*; any of several."
        )(decorated)

    return decorate


def _filters(actions: tuple[str, ...], query: str | None, given: dict[str, Any]) -> Filters:
    since, until = given.pop("since", None), given.pop("until", None)
    return Filters(
        actions=actions,
        organization=given.pop("org", None),
        lucene=query,
        since_ns=None if since is None else moment(since, "since"),
        until_ns=None if until is None else moment(until, "until"),
        **given,
    )
