"""The decoder process: `python -m stpe.video.isolated.child FD`.

Takes one request after the other from the socket and answers each; ends when its owner does. A
crash is written to stderr with the place it happened at.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from stpe.allocator import released, steady
from stpe.errors import SourceError, StpeError, UsageError
from stpe.video.frame import Grid
from stpe.video.held import HeldFrames
from stpe.video.isolated.wire import Block, Message, packed, receive, send
from stpe.video.limits import Limits
from stpe.video.local import open_path
from stpe.video.sampler import Measured, sampled
from stpe.video.source import Source
from stpe.video.still import upright_picture

#: Seconds of work after which the owner is told that it goes on.
_TICK_S = 1.0


class StoppedError(Exception):
    """The owner wants no more of what was asked."""


class Decoder:
    """What was opened last, and the requests that can be made of it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._source: Source | None = None
        self._held: HeldFrames | None = None
        self._told_at = 0.0

    def say(self, message: Message, blocks: Sequence[Block] = ()) -> None:
        """To the owner."""
        send(self.connection, message, blocks)
        self._told_at = time.monotonic()

    def tick(self) -> None:
        """Say that work goes on, now and then. Raises StoppedError if the owner wants no more."""
        if time.monotonic() - self._told_at >= _TICK_S:
            self.say({"kind": "tick"})
            self.check()

    def check(self) -> None:
        """Raise StoppedError if the owner has said something, which can only be `stop`."""
        if select.select([self.connection], [], [], 0)[0]:
            raise StoppedError

    def picture(self, limits: Limits, blocks: list[memoryview], **_: object) -> None:
        """One encoded picture to one upright image."""
        try:
            image = upright_picture(blocks[0].tobytes(), limits)
        finally:
            _bound(None)
        self.say({"kind": "image", "shape": image.shape}, [packed(image)])

    def open(self, path: str, uri: str, fps: float | None, limits: Limits, **_: object) -> None:
        """Open a file or folder."""
        self._close()
        self._source = open_path(Path(path), uri, limits, fps)
        self.say({"kind": "opened", "info": asdict(self._source.info)})

    def media(self, **_: object) -> None:
        """Where the original lies."""
        self.say({"kind": "media", "path": str(self._opened.media)})

    def sample(self, grids: list[dict[str, Any]], **_: object) -> None:
        """Every frame that a grid selects, then `end`."""
        source = self._opened
        wanted = [Grid(**{**g, "size": g["size"] and tuple(g["size"])}) for g in grids]
        measured = Measured(source.info.warnings)
        frames = sampled(source, wanted, measured, self.tick)
        try:
            for frame in frames:
                shapes = {name: image.shape for name, image in frame.images.items()}
                facts = {"index": frame.index, "pts": frame.pts, "state": frame.state}
                blocks = [packed(image) for image in frame.images.values()]
                self.say({"kind": "frame", "shapes": shapes, **facts}, blocks)
                self.check()
        except StoppedError:
            receive(self.connection)
        finally:
            frames.close()
        facts = {name: getattr(measured, name) for name in Measured.facts}
        self.say({"kind": "end", "measured": facts, "warnings": source.info.warnings})

    def hold(self, budget: int, **_: object) -> None:
        """Frames of the opened source by index."""

        def cancelled() -> bool:
            self.tick()
            return False

        self._held = HeldFrames(self._opened, budget, cancelled)
        held = self._held
        facts = {"pts": held.pts, "fps": held.fps, "width": held.width, "height": held.height}
        facts["duration_s"] = held.duration_s
        self.say({"kind": "held", "warnings": held.warnings, **facts})

    def image(self, index: int, **_: object) -> None:
        """One of them."""
        if self._held is None:
            raise UsageError("no video is open")
        image = self._held.image(index)
        facts = {"shape": image.shape, "held_bytes": self._held.held_bytes}
        self.say({"kind": "image", **facts}, [packed(image)])

    def close(self, **_: object) -> None:
        """Free what was opened."""
        self._close()
        self.say({"kind": "closed"})

    @property
    def _opened(self) -> Source:
        if self._source is None:
            raise UsageError("no source is open")
        return self._source

    def _close(self) -> None:
        source, self._source, self._held = self._source, None, None
        if source is not None:
            source.close()


def _answered(decoder: Decoder, message: Message, blocks: list[memoryview]) -> None:
    """Do what is asked; what goes wrong is the answer."""
    try:
        if "limits" in message:
            message["limits"] = Limits(**message["limits"])
            _bound(message["limits"].decoder_bytes)
        call: Callable[..., None] = getattr(decoder, message.pop("do"))
        call(**message, blocks=blocks)
        return
    except StoppedError:
        receive(decoder.connection)
        name, text = _told(SourceError("reading the video was cancelled"))
    except Exception as error:
        name, text = _told(error)
    # Only now, since the error holds on to all that it passed through.
    _bound(None)
    decoder.say({"kind": "error", "name": name, "text": text})


def _told(error: Exception) -> tuple[str, str]:
    """The kind of error that the owner is to raise, and its text. Raises `error` if it is a bug."""
    match error:
        case StpeError():
            return type(error).__name__, str(error)
        case MemoryError() | av.error.MemoryError() | cv2.error(code=cv2.Error.StsNoMem):
            return "SourceLimitError", "decoding it takes more memory than is allowed for it"
        case cv2.error() | av.FFmpegError() | ValueError() | ArithmeticError():
            return "SourceError", "it cannot be decoded; write it again"
    raise error


def _bound(room: int | None) -> None:
    """Let this process take `room` bytes more than it has now; None takes the bound away. Nothing
    where the system does not count them."""
    if not sys.platform.startswith("linux"):
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard
    if room is not None:
        soft = _data_bytes() + room
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0


def _watched(connection: socket.socket) -> None:
    """End with the owner, even in the middle of a picture that never ends."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
        pass
    os._exit(0)


def main(descriptor: int) -> None:
    """Answer until the owner hangs up."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides
    steady()
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_watched, args=(connection,), daemon=True).start()
    decoder = Decoder(connection)
    gc.collect()
    gc.freeze()  # modules stay, so that looking for what was left behind takes no time
    while True:
        try:
            _next(decoder)
        except (EOFError, OSError):
            os._exit(0)
        gc.collect()
        released()


def _next(decoder: Decoder) -> None:
    """Answer one request and hold on to nothing of it."""
    message, blocks = receive(decoder.connection)
    if message["do"] != "stop":  # which came after the end of what it should stop
        _answered(decoder, message, blocks)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(int(sys.argv[1]))
