"""A thousand random alterations of an exported file, and each is found; an untouched file has no finding.

What the events show by themselves needs no manifest. What only the file's manifest can show is found with it, and
without it is what promise 4 leaves out: an end rewritten, cut off or added, a stream removed or added whole, and what
is no alteration of any event: the order and the layout of lines.
"""

import json
import random
from collections import Counter
from pathlib import Path

import orjson
import pytest

from auditpipe.pipeline.export import silent
from auditpipe.pipeline.verify.chain import Tally, verdict
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.from_file import findings, open_export
from auditpipe.pipeline.verify.view import Terms
from tests import alterations
from tests.alterations import Alteration, Reach
from tests.builders import Document
from tests.pipeline.verify.test_from_file import exported, without_manifest

#: How often each: a thousand in all.
EACH: dict[Alteration, int] = {
    alterations.change: 400,
    alterations.reseal: 100,
    alterations.drop: 100,
    alterations.double: 60,
    alterations.renumber: 60,
    alterations.squeeze_in: 60,
    alterations.extend: 60,
    alterations.insert: 60,
}
LINES = 50


@pytest.fixture(scope="module")
def originals() -> list[Document]:
    return alterations.originals()


@pytest.fixture
def with_manifest(tmp_path: Path, originals: list[Document]) -> Path:
    return exported(tmp_path, originals)


@pytest.fixture
def alone(tmp_path: Path, originals: list[Document]) -> Path:
    (tmp_path / "alone").mkdir()
    return without_manifest(exported(tmp_path / "alone", originals))


def examine(path: Path, lines: list[bytes]) -> tuple[list[Flaw], str]:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    tally = Tally()
    with findings(open_export(path), tally, silent, Terms()) as (view, flaws):
        found = [flaw for flaw in flaws if not flaw.is_note]
    return found, verdict(tally, view)


def test_there_are_a_thousand() -> None:
    assert sum(EACH.values()) + 2 * LINES == 1_000


@pytest.mark.parametrize("alter", EACH, ids=lambda alter: alter.__name__)
def test_every_alteration_of_an_event_is_found(
    alter: Alteration, originals: list[Document], with_manifest: Path, alone: Path
) -> None:
    needs = Counter[Reach]()
    for seed in range(EACH[alter]):
        documents = alterations.own(originals)
        reach = alter(documents, random.Random(f"{alter.__name__} {seed}"))
        lines = [orjson.dumps(document) for document in documents]
        found, said = examine(with_manifest, lines)
        assert found, seed
        assert said == "findings", seed
        found, said = examine(alone, lines)
        assert bool(found) == (reach is Reach.EVENTS), seed
        assert said == ("findings" if found else "sound"), seed
        needs[reach] += 1
    assert needs[Reach.EVENTS] or alter in (alterations.extend, alterations.insert)


@pytest.mark.parametrize("what", ["order", "layout"])
def test_other_lines_of_the_same_events_are_found_by_the_manifest(
    what: str, originals: list[Document], with_manifest: Path, alone: Path
) -> None:
    for seed in range(LINES):
        rng, lines = random.Random(seed), [orjson.dumps(document) for document in originals]
        one, two = rng.sample(range(len(lines)), 2)
        if what == "order":
            lines[one], lines[two] = lines[two], lines[one]
        else:
            lines[one] = json.dumps(orjson.loads(lines[one]), sort_keys=rng.random() < 0.5).encode()
        found, said = examine(with_manifest, lines)
        assert {flaw.kind for flaw in found} == ({"reordered", "manifest"} if what == "order" else {"manifest"}), seed
        assert said == "findings"
        assert examine(alone, lines) == ([], "sound")


def test_untouched_there_is_no_finding(originals: list[Document], with_manifest: Path, alone: Path) -> None:
    lines = [orjson.dumps(document) for document in originals]
    assert examine(with_manifest, lines) == ([], "sound")
    assert examine(alone, lines) == ([], "sound")
