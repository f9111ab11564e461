"""What a reader may send by hand: the node refuses what would end it. (What is left: docs/access-roles.md.)"""

import pytest
from opensearchpy.exceptions import TransportError

from tests.conftest import RealOpenSearch


def text(opening: str, core: str, closing: str, depth: int) -> str:
    """JSON deeper than a serializer makes."""
    return opening * depth + core + closing * depth


HOSTILE = {
    "parentheses": {"query": {"query_string": {"query": "(" * 3000 + "a" + ")" * 3000, "fields": ["message"]}}},
    "bool": '{"query":' + text('{"bool":{"must":[', '{"match_all":{}}', "]}}", 400) + "}",
    "intervals": '{"query":{"intervals":{"message":'
    + text('{"all_of":{"intervals":[', '{"match":{"query":"x"}}', "]}}", 900)
    + "}}}",
    "aggregations": '{"size":0' + text(',"aggs":{"a":{"terms":{"field":"event.action"}', "", "}}", 490) + "}",
    "regular expression": {"query": {"regexp": {"message": "(" * 20_000 + "a" + ")" * 20_000}}},
    "script": {"query": {"script": {"script": {"source": "while (true) {} return true"}}}},
}


@pytest.mark.opensearch
@pytest.mark.parametrize("what", HOSTILE)
def test_a_request_that_would_end_the_node_is_refused(opensearch: RealOpenSearch, what: str) -> None:
    with pytest.raises(TransportError) as refused:
        opensearch.request("POST", "/audit-events-*/_search", HOSTILE[what], settings=opensearch.super_admin)
    assert refused.value.status_code in (400, 500)
    assert opensearch.request("GET", "/")["version"]["number"]
