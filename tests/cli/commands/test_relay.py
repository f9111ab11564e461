"""`auditpipe relay`: what it refuses before it starts."""

from pathlib import Path

import pytest

from auditpipe.cli.entry import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:24224"], "add --tls-cert-file FILE --tls-key-file FILE and --shared-key-file FILE"),
        (["--listen", "24224"], "expected host:port"),
        (["--metrics", "0.0.0.0:1"], "expected an address of loopback"),
        ([], "no cluster is named"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments:
        monkeypatch.setenv("AUDITPIPE_URL", "http://127.0.0.1:1")
    assert main(["relay", "--dead-letters", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
