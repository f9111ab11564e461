"""A report names what was found, and a campaign with anything found has failed."""

import json
from collections import Counter
from dataclasses import replace

from tests.chaos.check import Finding, Result
from tests.chaos.recovery import Recovery, summary
from tests.chaos.report import SHOWN, Report, table

SOUND = Report(
    **{"seed": 7, "minutes": 5.0, "shipper": "relay", "apart": False, "faults": Counter({"node killed": 3})},
    **{"emitters": 9, "refused": 4, "result": Result(1000, 1012, 2, 10, ()), "settled_seconds": 3.25},
    recoveries=[Recovery("node killed", seconds) for seconds in (1.0, 9.0, 2.0)],
    verify="sound: 1012 events",
)


def test_a_campaign_without_a_finding_has_passed() -> None:
    assert SOUND.ok
    said = table(SOUND)
    assert "1,000 in the ledgers of 9 emitters, 1,012 stored" in said
    assert "node killed              3         3      2.00     9.0" in said


def test_one_with_a_loss_has_failed_and_names_it() -> None:
    lost = [Finding("lost", f"id-{number}", "is not stored") for number in range(SHOWN + 5)]
    failed = replace(SOUND, result=Result(1000, 995, 0, 0, tuple(lost)))
    assert not failed.ok
    said = table(failed)
    assert "lost: id-0: is not stored" in said
    assert "... and 5 more" in said
    assert [one["id"] for one in json.loads(json.dumps(failed.as_json()))["findings"]] == [one.id for one in lost]


def test_one_in_which_a_part_ended_by_itself_has_failed_too() -> None:
    failed = replace(SOUND, problems=["replayer ended by itself"])
    assert not failed.ok
    assert "problem: replayer ended by itself" in table(failed)


def test_recovery_is_told_by_kind() -> None:
    assert summary(SOUND.recoveries) == {"node killed": {"measured": 3, "median": 2.0, "max": 9.0}}
