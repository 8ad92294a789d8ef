"""Progress bars for people: what is done, how fast, how long still; nothing on work under two seconds."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TypeAlias

from tqdm import tqdm

Bar: TypeAlias = "tqdm[None]"
"""A running bar: `update(n)` counts, `set_postfix_str(text)` adds a note."""


@contextlib.contextmanager
def bar(label: str, total: float | None, unit: str) -> Iterator[Bar]:
    """A bar on stderr that appears after two seconds; without a terminal it prints a line every 15 s."""
    terminal = sys.stderr.isatty()
    shown: Bar = tqdm(
        desc=f"{label:<12}",
        total=total,
        unit=f" {unit}",
        delay=2.0,
        mininterval=0.2 if terminal else 15.0,
        ascii=" =" if not terminal else None,
        dynamic_ncols=terminal,
        leave=False,
        bar_format=None if total is not None else "{desc}: {n_fmt}{unit} [{elapsed}, {rate_fmt}{postfix}]",
    )
    try:
        yield shown
    finally:
        shown.close()
