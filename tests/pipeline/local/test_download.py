"""The cache: only what the lock names is ever in it under its name."""

import pytest

from auditpipe.pipeline.local.download import cached, fetch, missing
from auditpipe.schemas.errors import Finding, OutOfReach


def files_below(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_what_was_fetched_is_not_missing(tmp_path, lock, registry):
    assert missing(tmp_path, lock) == list(lock.artifacts)
    fetch(tmp_path, missing(tmp_path, lock))
    assert missing(tmp_path, lock) == []


def test_progress_is_told_each_byte_once(tmp_path, lock, registry):
    told = []
    fetch(tmp_path, list(lock.artifacts), told.append)
    assert sum(told) == lock.size


def test_a_file_that_arrives_broken_is_asked_for_again(tmp_path, lock, registry):
    registry.wrong = {"core-1.0.jar": [b"half"]}
    fetch(tmp_path, missing(tmp_path, lock))
    assert registry.asked.count("core-1.0.jar") == 2
    assert missing(tmp_path, lock) == []


def test_a_file_that_stays_broken_is_refused_and_nothing_of_it_is_kept(tmp_path, lock, registry):
    registry.wrong = {"core-1.0.jar": [b"evil", b"evil"]}
    with pytest.raises(Finding, match=r"core-1\.0\.jar is not what .* expected SHA-256"):
        fetch(tmp_path, missing(tmp_path, lock))
    assert not any("core" in name for name in files_below(tmp_path))
    assert lock.artifacts[0] in missing(tmp_path, lock)


def test_no_answer_is_out_of_reach_and_what_arrived_is_kept(tmp_path, lock, registry):
    registry.wrong = {"security-1.0.zip": [OutOfReach("no"), OutOfReach("no")]}
    fetch(tmp_path, list(lock.artifacts[:4]))
    with pytest.raises(OutOfReach):
        fetch(tmp_path, missing(tmp_path, lock))
    assert missing(tmp_path, lock) == [lock.artifacts[4]]


def test_one_failure_of_the_line_is_tried_again(tmp_path, lock, registry):
    registry.wrong = {"core-1.0.jar": [OutOfReach("reset")]}
    fetch(tmp_path, missing(tmp_path, lock))
    assert missing(tmp_path, lock) == []


@pytest.mark.parametrize("damage", [b"xore", b"cor", b"core and more", b""])
def test_a_damaged_file_in_the_cache_is_removed_and_missing(tmp_path, lock, registry, damage):
    fetch(tmp_path, missing(tmp_path, lock))
    path = cached(tmp_path, lock.artifacts[0])
    path.write_bytes(damage)
    assert missing(tmp_path, lock) == [lock.artifacts[0]]
    assert not path.exists()


def test_nothing_temporary_stays(tmp_path, lock, registry):
    registry.wrong = {"core-1.0.jar": [b"evil", b"evil"]}
    with pytest.raises(Finding):
        fetch(tmp_path, missing(tmp_path, lock))
    assert list((tmp_path / "tmp").iterdir()) == []
