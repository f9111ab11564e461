"""Who removes, whose events, and a command line: for the tests of retention."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditpipe.cli.entry import main
from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.pipeline.retention.signature import Signer, Trust
from tests.conftest import RealOpenSearch
from tests.stored import Ran, organization


@pytest.fixture
def org() -> str:
    return organization()


@pytest.fixture
def remover(opensearch: RealOpenSearch) -> Remover:
    admin = opensearch.admin
    made = Remover(opensearch.client(), Signer.read(admin), Trust.read(admin), keep=1, reason="a test")
    made.check()
    return made


@pytest.fixture
def auditpipe(
    opensearch: RealOpenSearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """A command line, in this process."""

    def call(*arguments: str, profile: str = "local", home: Path = opensearch.home) -> Ran:
        monkeypatch.setenv("AUDITPIPE_HOME", str(home))
        monkeypatch.setenv("AUDITPIPE_PROFILE", profile)
        if home != opensearch.home:
            monkeypatch.delenv("AUDITPIPE_PROFILE")
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return call
