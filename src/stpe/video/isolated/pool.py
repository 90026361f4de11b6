"""Decoder processes that wait for work, since starting one takes longer than decoding a picture."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stpe.video.isolated.process import DecoderProcess


class DecoderPool:
    """Hands out decoder processes, each to one user at a time. Safe from any thread.

    Args:
        idle: how many may wait.
    """

    def __init__(self, idle: int) -> None:
        self._most = idle
        self._idle: list[DecoderProcess] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def take(self) -> DecoderProcess:
        """One that is alive; the caller gives it back or kills it."""
        with self._lock:
            if self._owner != os.getpid():  # forked: those of the parent are not ours to ask
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                process.kill()
        return DecoderProcess()

    def give(self, process: DecoderProcess) -> None:
        """Take one back that has answered all it was asked."""
        with self._lock:
            if process.alive and len(self._idle) < self._most:
                self._idle.append(process)
                return
        process.kill()

    @contextmanager
    def borrowed(self) -> Iterator[DecoderProcess]:
        """One for a call; it is killed where the call is broken off."""
        process = self.take()
        try:
            yield process
        except Exception:
            # What decoding raised was answered, so the process is as good as before.
            self.give(process)
            raise
        except BaseException:
            process.kill()
            raise
        self.give(process)

    def close(self) -> None:
        """End those that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()


#: Of this process.
POOL = DecoderPool(max(2, os.cpu_count() or 1))
atexit.register(POOL.close)
