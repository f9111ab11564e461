"""The table of settings: which layer a value comes from, what is said of what is not used, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import (
    SETTINGS,
    Setting,
    Settings,
    home_dir,
    host_and_port,
    load,
    profile_path,
    read_secret,
    spool_dir,
)

CREDENTIALS = [setting for setting in SETTINGS if setting.credential]
ORDINARY = [setting for setting in SETTINGS if not setting.credential and setting.name not in ("url", "home")]
URLS = {"flags": "https://flags:9200", "environment": "https://environment:9200", "profile": "https://profile:9200"}
SOURCES = {"flags": "the command line", "environment": "the environment", "profile": "the profile"}

names = st.sets(st.sampled_from([setting.name for setting in SETTINGS if setting.name != "home"]))


def variables(content: dict[str, str]) -> dict[str, str]:
    return {f"AUDITPIPE_{name.upper()}": value for name, value in content.items()}


def write_profile(home: Path, name: str = "local", **content: str) -> None:
    (home / "profiles").mkdir(exist_ok=True)
    text = "".join(f"{key} = '{value}'\n" for key, value in content.items())
    (home / "profiles" / f"{name}.toml").write_text(text)


def resolve(
    home: Path,
    flags: dict[str, str | None] | None = None,
    environment: dict[str, str] | None = None,
    profile: str | None = None,
) -> Settings:
    return load(flags, profile=profile, environment={"AUDITPIPE_HOME": str(home), **(environment or {})})


@given(flags=names, environment=names, profile=names)
def test_every_value_comes_from_its_layer(
    tmp_path_factory: pytest.TempPathFactory, flags: set[str], environment: set[str], profile: set[str]
) -> None:
    """Flag over environment over profile; credentials from the layer of the URL, and from nowhere else."""
    home = tmp_path_factory.mktemp("home")
    given_names = {"flags": flags, "environment": environment, "profile": profile}
    layers = {layer: {name: f"{layer}-{name}" for name in chosen} for layer, chosen in given_names.items()}
    write_profile(home, **layers["profile"])
    holder = next((layer for layer in layers if "url" in layers[layer]), None)
    try:
        settings = resolve(home, dict(layers["flags"]), variables(layers["environment"]))
    except SettingsError as error:
        assert holder is not None
        has = layers[holder].keys()
        doubled = {"password", "password_file"} <= has or {"token_file", "username"} <= has
        assert doubled or ("cert_file" in has) != ("key_file" in has)
        assert str(error).startswith(SOURCES[holder])
        return
    assert settings.source == (SOURCES[holder] if holder else "nowhere")
    for setting in CREDENTIALS:
        assert settings.get(setting.name) == (layers[holder].get(setting.name) if holder else None)
    for setting in ORDINARY:
        expected = next((layers[layer][setting.name] for layer in layers if setting.name in layers[layer]), None)
        assert settings.get(setting.name) == (expected or setting.default)
    unused = {
        *(f"--{s.name.replace('_', '-')}" for s in CREDENTIALS if s.name in flags and holder != "flags"),
        *(s.variable for s in CREDENTIALS if s.name in environment and holder != "environment"),
    }
    said = " ".join(settings.notes)
    named = {word.rstrip(",;") for word in said.split() if word.startswith(("--", "AUDITPIPE_"))}
    assert named - {"--url", "AUDITPIPE_URL"} == (unused if holder else set())


@pytest.mark.parametrize("setting", CREDENTIALS, ids=lambda setting: setting.name)
def test_a_credential_in_the_environment_is_not_sent_to_the_url_of_a_flag(tmp_path: Path, setting: Setting) -> None:
    settings = resolve(tmp_path, {"url": URLS["flags"]}, {setting.variable: "secret"})
    assert settings.get(setting.name) is None
    assert settings.notes == (
        f"not used: {setting.variable}; the URL is from the command line, and credentials come from where the URL"
        " comes from: give the URL as AUDITPIPE_URL with it",
    )


@pytest.mark.parametrize("setting", CREDENTIALS, ids=lambda setting: setting.name)
def test_a_credential_in_a_flag_is_not_sent_to_the_url_of_the_environment(tmp_path: Path, setting: Setting) -> None:
    settings = resolve(tmp_path, {setting.name: "secret"}, {"AUDITPIPE_URL": URLS["environment"]})
    assert settings.get(setting.name) is None
    [note] = settings.notes
    flag = "--" + setting.name.replace("_", "-")
    assert note.startswith(f"not used: {flag}; the URL is from the environment, ")
    assert note.endswith("give the URL as --url with it")
    assert "secret" not in note


def test_credentials_beside_the_url_of_a_profile_are_named_by_layer(tmp_path: Path) -> None:
    write_profile(tmp_path, url=URLS["profile"], username="ada")
    environment = {"AUDITPIPE_USERNAME": "eve", "AUDITPIPE_PASSWORD": "secret"}
    settings = resolve(tmp_path, {"username": "mallory"}, environment)
    assert settings.get("username") == "ada"
    assert [note.partition(";")[0] for note in settings.notes] == [
        *["not used: --username", "not used: AUDITPIPE_USERNAME, AUDITPIPE_PASSWORD"]
    ]
    assert not any("secret" in note for note in settings.notes)


def test_a_profile_that_nobody_asked_for_is_not_spoken_of(tmp_path: Path) -> None:
    write_profile(tmp_path, url=URLS["profile"], username="ada")
    assert resolve(tmp_path, {"url": URLS["flags"]}).notes == ()
    assert resolve(tmp_path, None, {"AUDITPIPE_URL": URLS["environment"]}).notes == ()


@pytest.mark.parametrize(
    ("flags", "environment", "over"),
    [({"url": URLS["flags"]}, {}, "--url"), ({}, {"AUDITPIPE_URL": URLS["environment"]}, "AUDITPIPE_URL")],
)
def test_a_profile_that_was_asked_for_and_is_overruled_is_spoken_of(
    tmp_path: Path, flags: dict[str, str | None], environment: dict[str, str], over: str
) -> None:
    write_profile(tmp_path, "prod", url=URLS["profile"], username="ada")
    settings = resolve(tmp_path, flags, environment, profile="prod")
    assert settings.get("username") is None
    assert settings.notes[0] == f"{over} goes over the URL of profile prod, and its credentials are not used"
    assert len(settings.notes) == 1


def test_without_a_cluster_nothing_is_said_of_credentials(tmp_path: Path) -> None:
    settings = resolve(tmp_path, {"username": "ada"}, {"AUDITPIPE_PASSWORD": "secret"})
    assert (settings.source, settings.notes, settings.get("username")) == ("nowhere", (), None)
    with pytest.raises(SettingsError, match="no cluster is named"):
        _ = settings.url


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    write_profile(tmp_path, url=URLS["profile"])
    settings = resolve(tmp_path, None, {"AUDITPIPE_URL": "", "AUDITPIPE_USERNAME": ""})
    assert (settings.url, settings.source, settings.notes) == (URLS["profile"], "the profile", ())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"password": "a", "password_file": "b"}, "both password and password_file"),
        ({"token_file": "a", "username": "b"}, "both token_file and username"),
        ({"cert_file": "a"}, "only one of cert_file and key_file"),
        ({"key_file": "a"}, "only one of cert_file and key_file"),
    ],
)
def test_two_ways_to_sign_in_are_refused(tmp_path: Path, flags: dict[str, str | None], said: str) -> None:
    with pytest.raises(SettingsError, match=f"the command line gives {said}"):
        resolve(tmp_path, {"url": URLS["flags"], **flags})


def test_a_profile_asked_for_must_exist_by_flag_and_by_variable(tmp_path: Path) -> None:
    write_profile(tmp_path, "there", url=URLS["profile"])
    for flag, environment in (("absent", {}), (None, {"AUDITPIPE_PROFILE": "absent"})):
        with pytest.raises(SettingsError, match=r"no profile 'absent': .*; there: there"):
            resolve(tmp_path, None, environment, profile=flag)
    assert resolve(tmp_path, None, {"AUDITPIPE_PROFILE": "there"}).url == URLS["profile"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ulr = 'x'", "unknown setting 'ulr'"),
        ("url = 5", "url must be a string in quotes, got int"),
        ("url =", "can't be read"),
    ],
)
def test_a_profile_with_a_mistake_is_refused(tmp_path: Path, text: str, said: str) -> None:
    write_profile(tmp_path)
    (tmp_path / "profiles" / "local.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        resolve(tmp_path)


@pytest.mark.parametrize("name", ["", "../other", "a/b", ".", "a b"])
def test_a_profile_is_named_by_a_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="a profile's name"):
        profile_path(tmp_path, name)


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one\ntwo\n")
    settings = resolve(tmp_path, {"url": URLS["flags"], "username": "ada", "password_file": str(path)})
    assert (settings.password, settings.token) == ("one", None)
    assert resolve(tmp_path, {"url": URLS["flags"], "token_file": str(path)}).token == "one"
    assert resolve(tmp_path, {"url": URLS["flags"]}, {}).password is None


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"\nx", "is empty"), (b"\xff", "can't be read")])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingsError, match=f"AUDITPIPE_TOKEN_FILE names .*{said}"):
        read_secret(str(tmp_path / "secret"), "token_file")
    with pytest.raises(SettingsError, match="can't be read"):
        read_secret(str(tmp_path / "absent"), "token_file")


@given(host=st.sampled_from(["127.0.0.1", "localhost", "::1"]), port=st.integers(1, 65535))
def test_host_and_port_are_read_back(host: str, port: int) -> None:
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert host_and_port(written, "forward") == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:-1", "host:\u0661", "host:1x"]
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="AUDITPIPE_FORWARD: expected host:port"):
        host_and_port(text, "forward")


def test_folders_follow_xdg_unless_set(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert home_dir(None, environment) == tmp_path / "auditpipe" / "local"
    assert spool_dir(None, environment) == tmp_path / "auditpipe" / "spool"
    assert home_dir("~/h", environment) == Path.home() / "h"
    assert load({"spool_dir": "/s"}, environment=environment).spool_dir == Path("/s")


def test_defaults_are_those_of_the_table(tmp_path: Path) -> None:
    settings = resolve(tmp_path)
    assert settings.forward == ("127.0.0.1", 24224)
    assert settings.home == tmp_path
    assert {name for name, value in settings.values.items() if value} == {"forward", "home"}


def test_no_password_is_in_what_python_shows_of_settings() -> None:
    given = load(
        {}, environment={"AUDITPIPE_URL": "https://a", "AUDITPIPE_USERNAME": "u", "AUDITPIPE_PASSWORD": "canary"}
    )
    assert given.password == "canary"
    assert "canary" not in f"{given!r} {given}"


def test_what_is_no_utf8_may_name_a_file_and_nothing_else() -> None:
    with pytest.raises(SettingsError, match="AUDITPIPE_USERNAME: expected text in UTF-8, and character 2 is none"):
        load({}, environment={"HOME": "/nowhere", "AUDITPIPE_USERNAME": "a\udcff"})
    assert load({}, environment={"HOME": "/nowhere", "AUDITPIPE_SPOOL_DIR": "/a\udcff"}).get("spool_dir") == "/a\udcff"
