"""A member of a crew: `python -m stpe.pipeline.crew_member FD THREADS LOG_LEVEL`.

Takes `Share`s from the socket and answers each with `Made` or the exception; between them come
(stage, seconds of video) as they are done. Ends when its leader does.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection

from stpe.allocator import steady
from stpe.errors import StageError, StpeError
from stpe.models.loaded import Loaded
from stpe.models.loader import Selection
from stpe.pipeline.crew import Made, Share
from stpe.pipeline.executor import execute_share
from stpe.pipeline.progress import Progress
from stpe.video.opening import open_source


class Member:
    """Runs shares, one after the other, with models that stay loaded while the choice stays."""

    def __init__(self, threads: int) -> None:
        steady()
        self._threads = threads
        self._models: Loaded | None = None

    def run(self, share: Share, progress: Progress) -> Made:
        """Run one share. Raises StpeError."""
        assert isinstance(share.plan.selection, Selection)
        if self._models is None or self._models.selection != share.plan.selection:
            if self._models is not None:
                self._models.close()
            self._models = Loaded(share.plan.selection)
        with open_source(share.media, share.limits, share.plan.sampling.image_fps) as source:
            return execute_share(share, source, self._models.role, progress, self._threads)


class _Told(Progress):
    """Passes on what is done, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """To the leader."""
        with self._lock:
            self._connection.send(message)

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """What was found in the store is counted by the leader."""
        if not reused:
            self.send((stage, video_s))


def main(descriptor: int, threads: int, level: int) -> None:
    """Serve until the leader hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the leader decides
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("stpe").setLevel(level)
    connection = Connection(descriptor)
    told, asked = _Told(connection), queue.SimpleQueue[Share]()

    def listen() -> None:
        try:
            while True:
                asked.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    member = Member(threads)
    while True:
        share = asked.get()
        try:
            answer: object = member.run(share, told)
        except StpeError as error:
            answer = error
        except Exception as error:
            logging.getLogger("stpe").debug("a share failed", exc_info=True)
            answer = StageError(f"a worker process failed with {type(error).__name__}: {error}")
        told.send(answer)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
