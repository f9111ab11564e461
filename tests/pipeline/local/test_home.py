"""The folders of a stack, who may reach them, and what a purge leaves."""

import os
import stat

import pytest

from auditpipe.pipeline.local import home, stack
from auditpipe.pipeline.local.home import UNPRIVILEGED, Home
from auditpipe.schemas.errors import SettingsError


@pytest.fixture
def made(tmp_path):
    made = Home(tmp_path / "home")
    made.make()
    yield made
    stack.purge(made)


def test_every_folder_is_for_its_owner_alone(made):
    for folder in made.folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_home_is_not_listed_by_others(made):
    assert stat.S_IMODE(made.root.stat().st_mode) & 0o066 == 0


def test_making_it_again_changes_nothing(made):
    (made.secrets / "superadmin").write_text("secret")
    (made.secrets / "superadmin").chmod(0o600)
    made.make()
    assert (made.secrets / "superadmin").read_text() == "secret"


@pytest.mark.parametrize(
    "name", ["secrets", "secrets/superadmin", "certs/ca-key.pem", "profiles/local.toml", "opensearch"]
)
def test_what_others_can_reach_is_refused_at_start_and_named(made, name):
    for path in ("secrets/superadmin", "certs/ca-key.pem", "profiles/local.toml"):
        (made.root / path).touch(0o600)
    made.make()
    exposed = made.root / name
    exposed.chmod(0o750 if exposed.is_dir() else 0o640)
    with pytest.raises(SettingsError, match=f"chmod go= {exposed}; and renew"):
        made.make()
    exposed.chmod(0o700 if exposed.is_dir() else 0o600)
    made.make()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's node is someone else")
def test_roots_node_owns_a_folder_that_it_can_reach(made):
    """pytest's folders are closed to others, as /root is: the node's part is outside."""
    folder = made.opensearch.resolve()
    assert folder.stat().st_uid == UNPRIVILEGED
    assert home.reachable(folder.parent)
    assert made.opensearch.is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root's node is someone else")
def test_an_ordinary_users_node_is_in_the_home(made):
    assert made.opensearch.resolve() == (made.root / "opensearch").resolve()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make someone else's folder")
def test_someone_elses_home_is_refused(tmp_path):
    """`sudo auditpipe up` with a kept HOME would leave files that its owner can't touch."""
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 1077, 1077)
    with pytest.raises(SettingsError, match="belongs to user id 1077"):
        Home(tmp_path / "home").make()


def test_a_purge_leaves_nothing(made):
    outside = made.opensearch.resolve()
    (outside / "data").mkdir()
    stack.purge(made)
    assert not made.root.exists()
    assert not outside.exists()


def test_a_purge_leaves_what_is_not_ours(made):
    (made.root / "thesis.txt").write_text("mine")
    stack.purge(made)
    assert [path.name for path in made.root.iterdir()] == ["thesis.txt"]
    (made.root / "thesis.txt").unlink()


def test_a_purge_does_not_follow_a_link_of_someone_else(made, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("mine")
    outside = made.opensearch.resolve()
    outside.rmdir()
    if made.opensearch.is_symlink():
        made.opensearch.unlink()
    made.opensearch.symlink_to(elsewhere)
    stack.purge(made)
    assert (elsewhere / "thesis.txt").read_text() == "mine"


def test_a_folder_behind_a_closed_one_is_not_reachable(tmp_path):
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    assert not home.reachable(closed / "inner", uid=os.geteuid() + 1)
    assert home.reachable(closed, uid=os.geteuid()) or os.geteuid() != closed.stat().st_uid


def test_the_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = tmp_path / "auditpipe"
    assert home.cache_dir() == expected or (os.geteuid() == 0 and not home.reachable(expected))
