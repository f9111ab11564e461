"""A progress bar on stderr, where a person watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from auditpipe.pipeline.export import Progress, silent


def bar(label: str) -> Progress:
    """A bar with this label; nothing at all where stderr is no terminal."""
    if not sys.stderr.isatty():
        return silent

    @contextmanager
    def show(total: int) -> Iterator[Callable[[int], None]]:
        with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True, update_min_steps=1) as shown:
            yield lambda position: shown.update(position - shown.pos)

    return show
