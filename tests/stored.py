"""Documents put into the real node, and the command line run against it."""

import contextlib
import io
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import orjson

from auditpipe.schemas.identity import index_of, parse_time
from tests.builders import Document, bulk
from tests.conftest import RealOpenSearch

COMMAND = [sys.executable, "-c", "from auditpipe.cli.entry import main; raise SystemExit(main())"]


def organization() -> str:
    """An organization that no other test has: the node is shared."""
    return f"org-{uuid.uuid4().hex[:12]}"


def ensure_months(opensearch: RealOpenSearch, documents: list[Document]) -> None:
    """Make the indices of these events, from the provisioned template."""
    client = opensearch.client()
    for index in {index_of(parse_time(document["@timestamp"])) for document in documents}:
        if not client.indices.exists(index=index):
            client.indices.create(index=index)


def store(opensearch: RealOpenSearch, documents: list[Document], *, refresh: bool = True) -> list[Document]:
    """Store them as a shipper does."""
    ensure_months(opensearch, documents)
    body = b"".join(orjson.dumps(line) + b"\n" for line in bulk(documents))
    answer = opensearch.client().bulk(body=body, params={"refresh": "true"} if refresh else {})
    assert not answer["errors"], answer
    return documents


def overwrite(opensearch: RealOpenSearch, index: str, doc_id: str, document: Document) -> None:
    """Write over write-once, as only the holder of the admin certificate can."""
    opensearch.client().index(index=index, id=doc_id, body=document, params={"refresh": "true"})


def environment(**given: str) -> dict[str, str]:
    """The environment of a command: nobody's settings but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUDITPIPE_")}
    return {**kept, **given}


def run(
    *arguments: str, env: dict[str, str], cwd: Path | None = None, stdin: bytes | None = None, seconds: float = 120
) -> "Ran":
    """Run `auditpipe ARGUMENTS` as its own process."""
    command = [*COMMAND, *arguments]
    done = subprocess.run(command, env=environment(**env), cwd=cwd, input=stdin, capture_output=True, timeout=seconds)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: str, env: dict[str, str], cwd: Path | None = None) -> "Ran":
    """The same in this process, for what asks many times: no start of Python to wait for."""
    from auditpipe.cli.entry import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.dict(os.environ, environment(**env), clear=True),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(arguments)
    told, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return Ran(code, told, said)


class Ran:
    """What a command left: its exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def documents(self) -> list[Document]:
        """stdout as NDJSON."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def said(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def ids(documents: list[Any]) -> list[str]:
    """Their event ids."""
    return [document["event"]["id"] for document in documents]
