"""The table of answers: done, again or never. What is not the document's own fault is never "never"."""

from typing import Any

import pytest

from auditpipe.pipeline.relay.classify import (
    Outcome,
    Stored,
    classify,
    classify_request,
    read_items,
    read_stored,
)

DONE, AGAIN, NEVER = Outcome.DONE, Outcome.AGAIN, Outcome.NEVER


def item(status: Any, kind: str = "", reason: str = "", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": status}
    if kind:
        answer["error"] = {"type": kind, "reason": reason, **more}
    return {"create": answer}


# Each error as OpenSearch 3.4 words it.
@pytest.mark.parametrize(
    ("answer", "outcome", "word"),
    [
        (item(201), DONE, "created"),
        (item(200), AGAIN, "not_understood"),  # a drop processor: `noop`, and nothing is stored
        (item(400, "mapper_parsing_exception", "failed to parse"), NEVER, "mapper_parsing_exception"),
        (item(400, "document_parsing_exception", "x"), NEVER, "document_parsing_exception"),
        (item(400, "strict_dynamic_mapping_exception", "x"), NEVER, "strict_dynamic_mapping_exception"),
        (
            item(400, "illegal_argument_exception", "Document contains at least one immense term in field"),
            NEVER,
            "illegal_argument_exception",
        ),
        (item(400, "illegal_argument_exception", "pipeline with id [x] does not exist"), AGAIN, "not_understood"),
        (
            item(400, "illegal_argument_exception", "number of documents in the index cannot exceed 2147483519"),
            AGAIN,
            "",
        ),
        (item(400, "something_new", "x"), AGAIN, "not_understood"),
        (item(400), AGAIN, "not_understood"),
        (item(404, "index_not_found_exception", "no such index"), AGAIN, "missing_index"),
        (item(403, "security_exception", "no permissions"), AGAIN, "permission"),
        (item(403, "cluster_block_exception", "index [x] blocked by"), AGAIN, "write_block"),
        (item(400, "index_closed_exception", "closed"), AGAIN, "closed_index"),
        (item(429, "cluster_block_exception", "flood stage"), AGAIN, "disk_full"),
        (item(429, "rejected_execution_exception", "x"), AGAIN, "busy"),
        (item(503, "unavailable_shards_exception", "x"), AGAIN, "missing_shard"),
        (item(503, "something_new", "x"), AGAIN, "server_error"),
        (item(500, "mapper_parsing_exception", "x"), AGAIN, "server_error"),
        (item("201"), AGAIN, "not_understood"),
        (item(None), AGAIN, "not_understood"),
        ({"index": {"status": 201}}, AGAIN, "not_understood"),
        ({"create": "x"}, AGAIN, "not_understood"),
        ("x", AGAIN, "not_understood"),
        (None, AGAIN, "not_understood"),
        ({"create": {"status": 400, "error": "mapper_parsing_exception"}}, AGAIN, "not_understood"),
    ],
)
def test_an_item(answer: Any, outcome: Outcome, word: str) -> None:
    verdict = classify(answer, "h", None)
    assert verdict.outcome is outcome
    assert word in verdict.type


CONFLICT = item(409, "version_conflict_engine_exception", "document already exists")


@pytest.mark.parametrize(
    ("digest", "stored", "outcome", "word"),
    [
        ("h", Stored(True, "h"), DONE, "duplicate"),
        ("h", Stored(True, "other"), NEVER, "conflict"),
        ("h", Stored(True, None), NEVER, "conflict"),
        (None, Stored(True, "h"), NEVER, "conflict"),
        (None, Stored(True, None), NEVER, "conflict"),
        ("h", Stored(False), AGAIN, "unread_conflict"),
        ("h", None, AGAIN, "unread_conflict"),
    ],
)
def test_an_id_that_is_taken_is_done_only_by_the_same_hash(
    digest: str | None, stored: Stored | None, outcome: Outcome, word: str
) -> None:
    assert classify(CONFLICT, digest, stored)[:2] == (outcome, word)


def test_a_409_that_is_no_version_conflict_waits() -> None:
    assert classify(item(409, "snapshot_in_progress", "x"), "h", Stored(True, "h")).outcome is AGAIN


@pytest.mark.parametrize(
    ("status", "body", "outcome", "word"),
    [
        (413, None, NEVER, "request_too_large"),
        (400, {"error": {"type": "action_request_validation_exception", "reason": "id too long"}}, NEVER, "action_"),
        (400, {"error": {"type": "x_content_parse_exception", "reason": "x"}}, NEVER, "x_content"),
        (400, {"error": {"type": "illegal_argument_exception", "reason": "pipeline with id"}}, AGAIN, "not_understood"),
        (400, None, AGAIN, "not_understood"),  # a proxy's own page
        (200, {"ok": True}, AGAIN, "not_understood"),
        (301, None, AGAIN, "not_understood"),
        (401, None, AGAIN, "credentials"),
        (403, {"error": {"type": "security_exception"}}, AGAIN, "permission"),
        (404, None, AGAIN, "not_understood"),
        (429, None, AGAIN, "busy"),
        (503, {"error": "OpenSearch Security not initialized."}, AGAIN, "server_error"),
    ],
)
def test_a_request_that_failed_whole(status: int, body: Any, outcome: Outcome, word: str) -> None:
    verdict = classify_request(status, body)
    assert verdict.outcome is outcome
    assert word in verdict.type


@pytest.mark.parametrize("body", [None, [], {}, {"items": 5}, {"items": [1]}, {"items": [1, 2, 3]}])
def test_an_answer_for_another_number_of_events_is_not_understood(body: Any) -> None:
    assert read_items(body, 2) is None


def test_stored_hashes_are_read_one_by_one() -> None:
    docs = [
        {"found": True, "_source": {"audit": {"hash": "h"}}},
        {"found": True, "_source": {}},
        {"found": False},
        {"error": {"type": "index_not_found_exception"}},
    ]
    assert read_stored({"docs": docs}, 4) == [Stored(True, "h"), Stored(True), Stored(False), None]
    assert read_stored({"docs": docs}, 3) is None
    assert read_stored(None, 3) is None


def test_details_are_bounded() -> None:
    verdict = classify(item(400, "mapper_parsing_exception", "x" * 10_000), "h", None)
    assert len(verdict.detail) <= 500
