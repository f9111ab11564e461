"""A short campaign, always the same one: every lane's faults at once, and nothing lost, doubled or altered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.crew import ROOT
from tests.stored import environment

#: One whose node and shipper are killed early.
SEED = 897
MINUTES = 0.5
#: Its node alone starts twice, on a machine that may be busy.
PATIENCE_SECONDS = 580


@pytest.mark.opensearch
def test_a_campaign_of_all_faults_loses_doubles_and_alters_nothing(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--minutes", str(MINUTES)]
    done = subprocess.run(
        [*command, "--shipper", "relay", "--json", str(numbers)],
        **{"cwd": ROOT, "env": environment(), "capture_output": True, "text": True, "timeout": PATIENCE_SECONDS},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(numbers.read_text())
    assert [told[kind] for kind in ("lost", "doubled", "altered", "unexplained")] == [0, 0, 0, 0]
    assert told["events"] > 100
    assert told["stored"] >= told["events"]
    assert len(told["faults"]) >= 8
    assert told["faults"]["node killed"] >= 1
    assert "sound" in told["verify"]
