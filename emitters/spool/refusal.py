"""What the disk or the process's limits refuse, as a named error that says what to do."""

import errno

from auditpipe.schemas.errors import SpoolError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class NoSpace(SpoolError):  # noqa: N818  # as in auditpipe.schemas.errors
    """The disk is full. Nothing was appended."""


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in _FULL


def refusal(what: str, error: OSError, advice: str = "") -> SpoolError:
    """`what` and the system's word for it; then `advice`, unless it is the files that are too many."""
    if error.errno in _NO_DESCRIPTOR:
        advice = "; raise the limit of open files (ulimit -n)"
    return (NoSpace if is_full(error) else SpoolError)(f"{what}: {error}{advice}")
