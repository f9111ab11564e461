"""What is checked before Fluent Bit starts, because it would go on without."""

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.schemas.errors import NotFinished, SettingsError
from auditpipe.schemas.settings import load

LAUNCH = launcher.Launch(
    folder=Path("/folder"),
    opensearch_url="https://opensearch.example:9200",
    ca_file=Path("/ca.pem"),
    user="audit_shipper",
    forward=("127.0.0.1", 24224),
    http_port=2020,
)
CONFIGURATION = launcher.configuration().read_text()


def test_every_variable_of_the_configuration_is_given_and_no_other() -> None:
    in_file = set(re.findall(r"\$\{(\w+)\}", CONFIGURATION))
    from_file = {one["name"] for one in yaml.safe_load(CONFIGURATION)["env"]}
    assert set(launcher.environment(LAUNCH)) == in_file - from_file


@pytest.mark.parametrize(
    "changed",
    [{"user": ""}, {"opensearch_url": "http://localhost:9200"}, {"opensearch_url": "https://"}, {"user": "${HOME}"}],
)
def test_an_empty_or_unusable_value_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        launcher.environment(replace(LAUNCH, **changed))  # type: ignore[arg-type]


def test_nothing_is_unrouted_or_evicted_and_tls_is_verified() -> None:
    content = yaml.safe_load(CONFIGURATION)
    (source,), (target, reader) = content["pipeline"]["inputs"], content["pipeline"]["outputs"]
    assert source["tag"] == target["match"] == reader["match"] == content["pipeline"]["filters"][0]["match"]
    assert (source["storage.type"], source["workers"]) == ("filesystem", 1)
    assert "storage.total_limit_size" not in target
    assert (reader["name"], reader["record_count"]) == ("exit", 2**31 - 1)
    assert target["tls"] is target["tls.verify"] is target["tls.verify_hostname"] is True
    assert content["service"]["storage.checksum"] is False
    assert content["service"]["storage.keep.rejected"] is True
    assert content["service"]["http_listen"] == "127.0.0.1"


def test_the_passwords_file_is_for_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    launch = replace(LAUNCH, folder=tmp_path / "fluent-bit")
    launcher.prepare(launch, "a much longer password")
    launcher.prepare(launch, "short")
    path = launch.folder / launcher.PASSWORD_FILE
    assert path.read_text() == "short"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(launch.folder.stat().st_mode) == 0o700
    for unusable in ("", "two\nlines"):
        with pytest.raises(SettingsError):
            launcher.prepare(launch, unusable)


def program(folder: Path, says: str) -> str:
    path = folder / "fluent-bit"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_is_named_is_used_or_refused_never_passed_over(tmp_path: Path) -> None:
    found = program(tmp_path, "Fluent Bit v5.1.1")
    assert launcher.find(load({"fluent_bit": found})) == found
    assert launcher.find(load({"fluent_bit": "none"})) is None
    with pytest.raises(SettingsError, match="no program"):
        launcher.find(load({"fluent_bit": str(tmp_path / "nothing")}))
    with pytest.raises(SettingsError, match=r"4\.2\.0 or later"):
        launcher.find(load({"fluent_bit": program(tmp_path, "Fluent Bit v3.2.10")}))
    with pytest.raises(NotFinished, match=r"v5\.1\.1"):
        launcher.find(load({"fluent_bit": program(tmp_path, "something else")}))


def test_one_on_path_that_is_too_old_leaves_the_work_to_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "Fluent Bit v1.9.0")
    monkeypatch.delenv("AUDITPIPE_FLUENT_BIT", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert launcher.find(load({})) is None


def test_it_may_open_as_many_chunks_as_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    configured = re.search(r"storage\.max_chunks_up: (\d+)", launcher.configuration().read_text(encoding="utf-8"))
    assert configured and int(configured[1]) < launcher.DESCRIPTORS
    for before, after in (((256, 1_000_000), 10_000), ((256, 4_096), 4_096), ((256, -1), 10_000), ((-1, -1), None)):
        made: list[tuple[int, int]] = []
        monkeypatch.setattr("resource.getrlimit", lambda _, limits=before: limits)
        monkeypatch.setattr("resource.setrlimit", lambda _, limits, made=made: made.append(limits))
        launcher.allow_descriptors()
        assert made == ([] if after is None else [(after, before[1])])
