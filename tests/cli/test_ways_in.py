"""How one gets in: no flag takes a secret, and neither flag nor setting nor code turns TLS verification off."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from auditpipe.cli.main import cli
from auditpipe.pipeline.client import trusting
from auditpipe.schemas.settings import SETTINGS
from tests.pipeline.test_no_role import leaves

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "schemas", "emitters", "pipeline", "dashboards")
#: What turns it off in Python's ssl, urllib3, requests and httpx, opensearch-py, curl, Fluent Bit and Node.
OFF = re.compile(
    r"CERT_NONE|CERT_OPTIONAL|check_hostname\s*=\s*False|_create_unverified|verify\s*=\s*False|verify_certs\s*=\s*False"
    r"|ssl_assert_hostname|assert_hostname\s*=\s*False|disable_warnings|--insecure|curl[^\n]* -k\b"
    r"|tls\.verify(_hostname)?:?\s+off|NODE_TLS_REJECT|verificationMode:\s*(none|certificate)"
)
_SECRET = re.compile(r"password|token|secret|key|passphrase|credential")


def options() -> Iterator[tuple[str, click.Option]]:
    for path, command in leaves(cli):
        yield from ((path, param) for param in command.params if isinstance(param, click.Option))


def test_no_flag_takes_a_secret_but_the_name_of_its_file() -> None:
    taking = {flag for _, option in options() for flag in option.opts if _SECRET.search(flag)}
    assert {flag for flag in taking if not flag.endswith("-file")} == {"--key"}  # emit's idempotency key


def test_no_flag_and_no_setting_turns_verification_off() -> None:
    names = [*(flag for _, option in options() for flag in option.opts), *(setting.name for setting in SETTINGS)]
    names.remove("--trusted-proxy")  # whose word for a person's name counts: TLS is not the less verified
    assert [name for name in names if re.search(r"insecure|verif|no-?check|skip|trust|unsafe", name)] == []


def test_no_line_of_the_product_turns_verification_off() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    files += [ROOT / "docker-compose.yml", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in OFF.finditer(text)]
    assert found == []


@pytest.mark.parametrize("variable", ["PYTHONHTTPSVERIFY", "SSL_NO_VERIFY", "CURL_INSECURE"])
def test_no_variable_turns_verification_off(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "0" if variable == "PYTHONHTTPSVERIFY" else "1")
    context = trusting(None)
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
