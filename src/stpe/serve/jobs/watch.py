"""The pipeline's progress as one fraction with a stage name, and the way to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from stpe.pipeline.progress import Progress
from stpe.serve.jobs.store import SEALING
from stpe.video.frame import SourceInfo

#: Least seconds between two notes of progress.
_EVERY_S = 0.5
#: Share of the work before rows are stored.
_BEFORE_STORING = 0.97


class StoppedError(BaseException):
    """The job is to stop. Not an Exception, so that nobody takes it for a failure of theirs."""


class Watch(Progress):
    """Notes progress, and stops the run from whichever thread comes by next.

    Args:
        note: given (fraction, stage); False where the job is to stop.
        stopped: set to stop.
    """

    def __init__(self, note: Callable[[float, str], bool], stopped: threading.Event) -> None:
        self._note = note
        self._stopped = stopped
        self._lock = threading.Lock()
        self._shares: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._duration_s: float | None = None
        self._noted: tuple[float, float, str] = (0.0, -1.0, "")

    def check(self) -> None:
        """Raise StoppedError if the job is to stop."""
        if self._stopped.is_set():
            raise StoppedError

    def fetching(self, what: str, done: int, total: int | None) -> None:
        """Weights are being downloaded."""
        self._say(0.0, f"fetching {what}")

    def source(self, info: SourceInfo, stages: Mapping[str, float]) -> None:
        """The source was opened."""
        with self._lock:
            self._shares, self._duration_s = dict(stages), info.duration_s
            self._done = dict.fromkeys(stages, 0.0)
        self._say(0.0, "decoding")

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """A stage went on."""
        with self._lock:
            self._done[stage] += video_s
        self._say(self._fraction(), stage)

    def measured(self, duration_s: float) -> None:
        """The true length is known."""
        with self._lock:
            self._duration_s = duration_s
        self.check()

    def storing(self, table: str) -> None:
        """From here on the job is not cancelled any more, unless it was already."""
        self._say(_BEFORE_STORING, SEALING, always=True)

    def _fraction(self) -> float:
        with self._lock:
            if not self._duration_s:
                return 0.0
            work = sum(
                share * min(1.0, self._done[name] / self._duration_s)
                for name, share in self._shares.items()
            )
        return _BEFORE_STORING * min(1.0, work)

    def _say(self, fraction: float, stage: str, always: bool = False) -> None:
        self.check()
        now = time.monotonic()
        with self._lock:
            at, highest, last = self._noted
            fraction = max(fraction, highest)
            same = stage == last and fraction - highest < 0.005
            if same or (now - at < _EVERY_S and not always):
                return
            self._noted = (now, fraction, stage)
        if not self._note(fraction, stage):
            self._stopped.set()
            raise StoppedError
