"""A server process that dies is started again; jobs go on from the store, sessions begin anew."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

#: Seconds before a new start: doubled each time, up to this.
_LONGEST_S = 60.0
#: A process that lived as long was sound: the next start is at once, and an exit of its own is a
#: death too.
_SOUND_S = 60.0

log = logging.getLogger(__name__)


def supervise() -> None:
    """Return in the process that is to serve, and again in each that replaces one that died.

    The caller's process never comes back: it ends as the server did once that was asked to end, or
    could not start. Call it before there are threads.
    """
    supervisor = _Supervisor()
    wait_s = 0.5
    while True:
        begun = time.monotonic()
        status = supervisor.run()
        if status is None:
            return
        sound = time.monotonic() - begun > _SOUND_S
        died = os.WIFSIGNALED(status) or (sound and os.WEXITSTATUS(status) not in (0, 2, 130))
        if supervisor.ending or not died:
            _end_as(status)
        wait_s = 0.5 if sound else min(_LONGEST_S, 2 * wait_s)
        log.error("the server process died (%s); it starts again in %g s", _how(status), wait_s)
        if not supervisor.wait(wait_s):
            _end_as(status)


class _Supervisor:
    """Forks, waits, and passes on the wish to end."""

    def __init__(self) -> None:
        self.ending = False
        self._child = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True
        if self._child:
            os.kill(self._child, signal.SIGTERM)

    def run(self) -> int | None:
        """Start a process and wait for its end: its status; None in that process itself."""
        ours, theirs = os.pipe()  # closes with this process, however that ends
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            os.close(theirs)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            faulthandler.enable()
            threading.Thread(target=_end_with, args=(ours,), daemon=True).start()
            return None
        os.close(ours)
        self._child = child
        if self.ending:  # asked in between
            os.kill(child, signal.SIGTERM)
        while True:
            pid, status = os.wait()  # as the first process of a container it has others to bury
            if pid == child:
                self._child = 0
                os.close(theirs)
                return status

    def wait(self, seconds: float) -> bool:
        """Sleep; False if asked to end meanwhile."""
        until = time.monotonic() + seconds
        while not self.ending and time.monotonic() < until:
            time.sleep(0.05)
        return not self.ending


def _end_with(supervisor: int) -> None:
    """End at once when the supervisor does: nobody else would."""
    os.read(supervisor, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.WEXITSTATUS(status)}"


def _end_as(status: int) -> None:
    """End this process as the other did."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.WEXITSTATUS(status))
