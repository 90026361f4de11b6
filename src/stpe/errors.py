"""One hierarchy of errors. Each message is a single line that says what to do next.

The command line turns an `StpeError` into that line and its `exit_code`; the server turns it
into a problem document with its `http_status`.
"""

from __future__ import annotations

from typing import ClassVar


class StpeError(Exception):
    """Base of every error a user can act on."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(StpeError):
    """The request itself is wrong: an unknown signal, model, format or option value."""

    exit_code = 2
    http_status = 400


class SourceError(StpeError):
    """A source cannot be opened or yields no frame."""

    http_status = 422


class SourceLimitError(SourceError):
    """A source is larger than a stated limit (pixels, bytes, entries, ratio, seconds)."""

    http_status = 413


class ModelError(StpeError):
    """A model's weights are missing, damaged, or cannot run on this machine."""

    http_status = 503


class OutOfMemoryError(ModelError):
    """A device's memory does not suffice, even for one item and with idle models moved out."""


class StageError(StpeError):
    """A stage failed on a window of a source; nothing of that source is stored."""


class MissingExtraError(StpeError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    http_status = 503


class DatasetError(StpeError):
    """A dataset is missing, locked by another writer, damaged, or of another version."""


class TruthError(StpeError):
    """Ground truth cannot be read, belongs to another video, or scores nothing there is."""

    http_status = 422


class InterruptedRunError(StpeError):
    """The user stopped the run; what was finished is kept and the same call resumes."""

    exit_code = 130
