"""What an audit log looks like after a week of work: always the same events, for the pictures."""

from random import Random

from auditpipe.schemas.identity import DAY
from tests.builders import Document, event

_PEOPLE = (
    ("u1", "ada", "Ada Adams"),
    ("u3", "grace", "Grace Hall"),
    ("u4", "linus", "Linus Berg"),
    ("u5", "mei", "Mei Ito"),
)
_TEAMS = (("t1", "Support"), ("t2", "Billing"), ("t3", "Quality"))
_FIELDS = (("phone", "+49 30 1234", "+49 30 4321"), ("title", "Agent", "Team lead"), ("city", "Berlin", "Leipzig"))


def week(end_ns: int, organization: str, count: int = 240) -> list[Document]:
    """So many events of the seven days before `end_ns`, more by day than by night."""
    random = Random(7)
    moments = sorted(end_ns - int(random.triangular(0, 7, 1.5) * DAY) for _ in range(count))
    return [_event(random, moment, organization) for moment in moments]


def _event(random: Random, moment: int, organization: str) -> Document:
    actor_id, name, full_name = random.choice(_PEOPLE)
    target_id, _, target_full = random.choice(_PEOPLE)
    user = {"id": actor_id, "name": name, "full_name": full_name, "email": f"{name}@example.com"}
    fields = {"organization": {"id": organization, "name": "Acme"}, "user": user}
    fields |= {"source__ip": f"192.0.2.{random.randint(1, 40)}", "audit__changes": None, "audit__changed": None}
    kind = random.random()
    if kind < 0.45:
        return event(moment, **fields, **_signed_in(random, full_name))
    if kind < 0.75:
        field, before, after = random.choice(_FIELDS)
        changed = {"audit__changes": [{"field": field, "before": before, "after": after}], "audit__changed": [field]}
        said = f"{full_name} changed {field} of {target_full}: {before} -> {after}"
        about = {"audit__target": {"type": "user", "id": target_id, "name": target_full}, "message": said}
        return event(moment, **{**fields, **changed, **about})
    if kind < 0.9:
        team_id, team = random.choice(_TEAMS)
        changed = {"audit__changes": [{"field": "members", "after": target_id}], "audit__changed": ["members"]}
        involved = [{"type": "user", "id": target_id, "name": target_full}]
        said = f"{full_name} changed members of team {team}: + {target_full}"
        about = {"audit__target": {"type": "team", "id": team_id, "name": team}, "message": said}
        return event(
            moment, **{**fields, **changed, **about}, audit__involved=involved, event__action="user.team.updated"
        )
    about = {"audit__target": {"type": "calibration"}, "message": f"{full_name} exported calibrations"}
    return event(moment, **fields, **about, event__action="user.calibration.exported")


def _signed_in(random: Random, full_name: str) -> dict[str, object]:
    target = {"audit__target": {"type": "user"}}
    if random.random() < 0.8:
        return {"event__action": "user.login_succeeded", "message": f"{full_name} signed in", **target}
    failed = {"event__action": "user.login_failed", "event__outcome": "failure", "event__reason": "bad_credentials"}
    return {**failed, "message": f"{full_name} failed to sign in: bad credentials", **target}
