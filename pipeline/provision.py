"""Prepare a cluster for audit events: plan, apply, read back, probe write-once.

    plan = provision.plan(client, options)      reads, changes nothing
    report = provision.apply(client, options, plan)

A second run changes nothing. What carries our name and is not ours is a Conflict, and then nothing at all is changed.
It needs the cluster's admin certificate: nobody else may make a month, or a role.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opensearchpy import OpenSearch

from auditpipe.pipeline import principals, rest, roles, template, writeonce
from auditpipe.pipeline.client import connect
from auditpipe.pipeline.plan import Plan, Request, Step
from auditpipe.pipeline.principals import Account
from auditpipe.pipeline.template import Month, Sizes
from auditpipe.pipeline.writeonce import WriteOnce
from auditpipe.schemas.errors import Conflict, NotAllowed, NotFinished
from auditpipe.schemas.settings import Settings

WRITER_USER = roles.WRITER_USER
_PROBE_USER = "auditpipe_probe"


def _now() -> int:
    return time.time_ns()


@dataclass(frozen=True, slots=True)
class Options:
    """What to provide.

    `sign_in` gives a client for a user and a password, apart from the admin certificate: to see whether a password
    file was renewed, and what write-once does to someone whom it is for. Without it neither is asked.
    """

    sizes: Sizes = field(default_factory=Sizes)
    first_month: Month | None = None
    accounts: tuple[Account, ...] = ()
    sign_in: principals.SignIn | None = None
    clock: Callable[[], int] = _now


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, and whether the cluster keeps what is written."""

    done: tuple[Step, ...]
    write_once: WriteOnce


def writer(name: str = WRITER_USER, password: str | None = None) -> Account:
    """The account that ships events."""
    principals.check_user_name(name)
    return Account(name, roles.WRITER, password)


def super_admin(name: str, password: str | None = None) -> Account:
    """The first Super Admin, who grants access to everyone else."""
    principals.check_user_name(name)
    return Account(name, roles.SUPER_ADMIN, password)


def sign_in_with(settings: Settings) -> principals.SignIn:
    """`Options.sign_in` for the cluster of these settings."""
    nobody = dict.fromkeys(("password_file", "token_file", "cert_file", "key_file"))

    def sign_in(name: str, password: str) -> OpenSearch:
        values = {**settings.values, **nobody, "username": name, "password": password}
        return connect(Settings(values, settings.source))

    return sign_in


def plan(client: OpenSearch, options: Options) -> Plan:
    """What there is and what would be done. NotAllowed without the admin certificate."""
    try:
        people = principals.read(client)
        tenants = principals.read_tenants(client)
        cluster = template.read(client)
    except NotAllowed as error:
        raise NotAllowed(
            f"provisioning needs the cluster's admin certificate (cert_file, key_file): {error}"
        ) from error
    now_ns = options.clock()
    return Plan(
        (
            *template.steps(cluster, options.sizes, template.months(options.first_month, now_ns), now_ns),
            principals.tenant_step(tenants),
            *principals.steps(people, options.accounts, options.sign_in),
        )
    )


def apply(client: OpenSearch, options: Options, planned: Plan) -> Report:
    """Do it, read everything back, probe write-once. Conflict, before anything is changed, for what is foreign."""
    refuse_conflicts(planned)
    for step in planned.changes:
        for request in step.requests:
            rest.send(client, request)
    if planned.changes:
        _read_back(client, options)
    return Report(planned.changes, write_once(client, options, may_change=True))


def write_once(client: OpenSearch, options: Options, *, may_change: bool) -> WriteOnce:
    """Probe write-once as an account whose password is known or, if it may, as a user made for that and removed."""
    if options.sign_in is None:
        return WriteOnce.UNKNOWN
    for account in options.accounts:
        if account.password is not None:
            try:
                return writeonce.probe(options.sign_in(account.name, account.password))
            except NotAllowed:
                continue  # not made yet, or its password is to be renewed
    if not may_change:
        return WriteOnce.UNKNOWN
    password = principals.random_password()
    rest.send(client, principals.put_user(_PROBE_USER, password, "tries write-once, has no role, is removed at once"))
    try:
        return writeonce.probe(options.sign_in(_PROBE_USER, password))
    except NotAllowed:
        return WriteOnce.UNKNOWN  # this cluster's people sign in elsewhere than in the internal user database
    finally:
        rest.send(client, Request("DELETE", principals.user_path(_PROBE_USER)))


def provision(client: OpenSearch, options: Options) -> Report:
    """Plan and apply in one."""
    return apply(client, options, plan(client, options))


def refuse_conflicts(planned: Plan) -> None:
    """Raise Conflict, naming everything foreign that the plan met."""
    if planned.conflicts:
        listed = "; ".join(f"{step.kind} {step.name}: {step.sentence}" for step in planned.conflicts)
        raise Conflict(f"nothing was changed, because of {listed}")


def _read_back(client: OpenSearch, options: Options) -> None:
    again = plan(client, options)
    wrong = [f"{step.kind} {step.name}: {step.sentence}" for step in (*again.changes, *again.conflicts)]
    if wrong:
        raise NotFinished(f"the cluster does not read back as it was written: {'; '.join(wrong)}; run it again")
