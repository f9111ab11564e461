"""What the spool of this machine can tell `verify`: it is asked if it is there, and never a reason to fail."""

from functools import cached_property
from pathlib import Path

from auditpipe.cli import terminal
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import SpoolError


class LocalSpool:
    """Answers for `pipeline.verify.view.Terms`. What can't be read is said once, on stderr."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._silent = False

    def held(self, stream: str, first: int, last: int) -> int:
        """How many of these numbers it still holds."""
        if stream not in self._streams:  # it has been read once already: gaps of other machines cost nothing
            return 0
        from auditpipe.emitters.spool.archive import held

        try:
            return held(self._spool, stream, first, last)
        except SpoolError as error:
            self._say(error)
            return 0

    def lives(self, stream: str) -> bool | None:
        """Whether more of this stream is to come; None where it knows nothing of it."""
        return self._streams.get(stream)

    @cached_property
    def _streams(self) -> dict[str, bool]:
        from auditpipe.emitters.spool.living import streams

        try:
            return streams(self._spool)
        except SpoolError as error:
            self._say(error)
            return {}

    def _say(self, error: SpoolError) -> None:
        if not self._silent:
            self._silent = True
            terminal.remark(printable(f"note: what the spool of this machine holds is not known: {error}"))
