"""What a model had to do otherwise than it was asked, told to whoever called it.

A note is logged, and kept where the caller listens: the pipeline stores notes with the dataset.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger(__name__)

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def note(text: str, logged: bool = True) -> None:
    """Log a warning, unless that was done, and keep it where this thread's caller listens."""
    if logged:
        log.warning("%s", text)
    heard = _heard.get()
    if heard is not None and text not in heard:
        heard.append(text)


@contextmanager
def noted() -> Iterator[list[str]]:
    """The notes made in this thread inside the block, each once."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
