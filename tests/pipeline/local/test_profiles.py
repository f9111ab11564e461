"""The profiles that `up` writes are read as they were meant, wherever the home is."""

import pytest

from auditpipe.pipeline.local import certificates, profiles
from auditpipe.pipeline.local.home import Home
from auditpipe.schemas.settings import load


@pytest.fixture(params=["home", 'Ünal\'s "home" \\ #1', "\U0001f4be"])
def home(request, tmp_path):
    home = Home(tmp_path / request.param)
    for folder in (home.profiles, home.secrets):
        folder.mkdir(parents=True)
    for name in (profiles.SUPER_ADMIN, profiles.SHIPPER):
        (home.secrets / name).write_text(f"password of {name}\n")
    profiles.write(home, certificates.ensure(home.certificates), "https://127.0.0.1:9200", "127.0.0.1:24224")
    return home


@pytest.mark.parametrize(("name", "user"), [("local", "superadmin"), ("shipper", "audit_shipper")])
def test_a_person_and_the_shipper_sign_in_with_a_password(home, name, user):
    settings = load({"home": str(home.root)}, profile=name, environment={})
    assert settings.get("username") == user
    assert settings.password == f"password of {user}"
    assert settings.get("cert_file") is None


def test_the_operator_has_the_admin_certificate_and_no_password(home):
    settings = load({"home": str(home.root)}, profile="operator", environment={})
    assert settings.get("cert_file") == str(home.certificates / "admin.pem")
    assert settings.get("username") is None
    assert settings.password is None


def test_all_name_the_same_cluster_and_shipper(home):
    for name in ("local", "operator", "shipper"):
        settings = load({"home": str(home.root)}, profile=name, environment={})
        assert settings.url == "https://127.0.0.1:9200"
        assert settings.forward == ("127.0.0.1", 24224)
        assert settings.get("ca_file") == str(home.certificates / "ca.pem")


def test_profiles_are_for_their_owner_alone(home):
    assert {path.stat().st_mode & 0o777 for path in home.profiles.iterdir()} == {0o600}
