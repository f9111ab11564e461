"""`doctor` on a real node: what it finds when something is made wrong, and that it finds nothing when all is well."""

import socket
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.doctor import cluster, shipper
from auditpipe.pipeline.doctor.check import Level
from auditpipe.pipeline.local import certificates
from auditpipe.schemas.settings import load


@pytest.fixture
def examine(opensearch):
    def examine(settings=None, reader=opensearch.shipper):
        return list(cluster.examine(settings or opensearch.admin, reader))

    return examine


#: Who may look: other tests leave people and roles on the node that they share. Those lines have tests of their own.
PEOPLE = ("access", "other roles")


def not_ok(checks):
    return {check.name: check for check in checks if check.level is not Level.OK and check.name not in PEOPLE}


def findings(checks):
    return {check.name: check for check in checks if check.level is Level.FINDING and check.name not in PEOPLE}


@pytest.mark.opensearch
def test_nothing_is_found_on_a_node_of_ours(examine):
    assert findings(examine()) == {}


@pytest.mark.opensearch
def test_each_thing_that_is_looked_at_has_its_line(examine):
    names = {check.name for check in examine()}
    assert {"cluster", "TLS", "security", "health", "blocks", "who looked", "write-once"} <= names
    assert {"template", "index", "setting", "role"} <= names
    assert any(name.startswith("disk of ") for name in names)


@pytest.mark.opensearch
def test_write_once_can_not_be_tried_with_the_admin_certificate_alone(examine):
    told = not_ok(examine(reader=None))
    assert set(told) == {"write-once"}, told
    found = told["write-once"]
    assert found.name == "write-once"
    assert found.level is Level.WARN


@pytest.mark.opensearch
def test_what_someone_may_not_look_at_is_said(opensearch):
    """Silence would look like health."""
    checks = list(cluster.examine(opensearch.super_admin))
    assert findings(checks) == {}
    told = not_ok(checks)
    assert {"health", "disk", "blocks", "provisioning"} <= set(told)
    assert [check for check in told.values() if "not looked at" not in check.sentence] == []
    assert "write-once" not in told


@pytest.mark.opensearch
def test_a_month_that_takes_no_event_is_found(opensearch, examine):
    index = min(opensearch.request("GET", "/audit-events-*"))
    opensearch.request("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    try:
        found = findings(examine())
    finally:
        opensearch.request("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    assert index in found["blocks"].sentence


@pytest.mark.opensearch
@pytest.mark.parametrize(
    ("path", "value"),
    [("/config/enabled", False), ("/config/audit/disabled_transport_categories", ["GRANTED_PRIVILEGES"])],
)
def test_a_node_that_does_not_record_who_looked_is_found(opensearch, examine, path, value):
    api = "/_plugins/_security/api/audit"
    before = opensearch.request("GET", api)["config"]
    opensearch.request("PATCH", api, [{"op": "replace", "path": path, "value": value}])
    try:
        found = findings(examine())
    finally:
        opensearch.request("PUT", f"{api}/config", before)
    assert set(found) == {"who looked"}


@pytest.mark.opensearch
def test_a_setting_that_lets_months_be_made_with_a_guessed_mapping_is_found(opensearch, examine):
    name = "action.auto_create_index"
    before = opensearch.request("GET", "/_cluster/settings?flat_settings=true")["persistent"][name]
    opensearch.request("PUT", "/_cluster/settings", {"persistent": {name: "true"}})
    try:
        found = findings(examine())
    finally:
        opensearch.request("PUT", "/_cluster/settings", {"persistent": {name: before}})
    assert found[f"setting {name}"].remedy == "`auditpipe provision`"


@pytest.mark.opensearch
def test_wrong_credentials_are_the_only_finding(opensearch, tmp_path):
    (tmp_path / "password").write_text("wrong\n")
    (found,) = cluster.examine(opensearch.settings("superadmin", tmp_path / "password"))
    assert found.level is Level.FINDING
    assert found.name == "cluster"


def test_a_cluster_out_of_reach_is_the_only_finding():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    settings = load({"url": f"https://127.0.0.1:{port}", "username": "a", "password": "b"}, environment={"HOME": "/"})
    (found,) = cluster.examine(settings)
    assert found.level is Level.FINDING
    assert f"127.0.0.1:{port}" in found.sentence


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LIFETIME", certificates.RENEW_WITHIN - certificates.timedelta(days=20))
    made = certificates.ensure(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.node.certificate, made.node.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: context.wrap_socket(listener.accept()[0], server_side=True).close())
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        settings = load({"url": url, "ca_file": str(made.ca)}, environment={"HOME": "/"})
        (check,) = cluster._certificate(settings, cluster.connect(settings))
        thread.join()
    assert check.level is Level.WARN
    assert "in 9 days" in check.sentence or "in 10 days" in check.sentence


def test_a_shipper_that_does_not_listen_is_a_finding():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = load({"forward": f"127.0.0.1:{listener.getsockname()[1]}"}, environment={"HOME": "/"})
        assert shipper.answers(settings).level is Level.OK
    assert shipper.answers(settings).level is Level.FINDING


@pytest.mark.parametrize(
    ("mark", "free"), [("85%", 150), ("0.85", 150), ("100b", 100), ("10kb", 10_240), ("1GB", 2**30), ("nonsense", 0)]
)
def test_watermarks_as_opensearch_writes_them(mark, free):
    assert cluster._must_be_free(mark, 1000) == pytest.approx(free)


@given(st.integers(0, 100), st.integers(0, 2**50))
def test_a_watermark_never_asks_for_more_than_the_disk(percent, total):
    assert 0 <= cluster._must_be_free(f"{percent}%", total) <= total
