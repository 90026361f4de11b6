"""`stpe consume`: a live stream in, clips of 16 frames to a clip classification server.

One thread reads and decodes, another posts, so a slow server never holds up the stream: of the
clips that wait for it the oldest is dropped, and counted. A stream that ends or falls silent is
opened again, after waits that grow while it stays away.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import av
import cv2
from av.error import ExitError, FFmpegError

from stpe.client import Client, RequestFailedError
from stpe.errors import StpeError, UsageError
from stpe.serve.clip import FRAMES, Prediction
from stpe.video.frame import ImageHW3
from stpe.video.remote import without_secrets

SCHEMES = ("rtsp", "rtsps", "udp", "srt", "rtmp")
#: Seconds for a stream to open, and of silence from which it counts as gone.
_OPEN_S, _SILENCE_S = 10.0, 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_WAITING_CLIPS = 2
_SHORT_SIDE = 256  # of the frames sent: classifiers look at less
_QUALITY = 90  # of their JPEG

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What happened so far.

    `connects` counts openings of the stream, `clips` those filled, `dropped` those the server was
    too slow for, `failed` those it did not answer.
    """

    connects: int = 0
    frames: int = 0
    clips: int = 0
    classified: int = 0
    dropped: int = 0
    failed: int = 0


class Consumer:
    """Reads `url` and posts to `client` until `stop` is called.

    Args:
        url: an rtsp, udp (MPEG-TS), srt or rtmp address.
        client: of the server; its timeout bounds one post.
        report: told the best class of each clip and the seconds the answer took.

    Raises:
        UsageError: another kind of address.
    """

    def __init__(
        self, url: str, client: Client, report: Callable[[Prediction, float], None]
    ) -> None:
        if urlsplit(url).scheme not in SCHEMES:
            raise UsageError(f"a stream's address begins with {', '.join(SCHEMES)} and ://")
        self.counts = Counts()
        self._url = url
        self._said = without_secrets(url)
        self._client = client
        self._report = report
        self._clips: queue.Queue[tuple[ImageHW3, ...]] = queue.Queue(_WAITING_CLIPS)
        self._stopped = threading.Event()

    def run(self) -> Counts:
        """Read and post; returns after `stop`. Ctrl-C stops it too, and is raised."""
        threads = [
            threading.Thread(target=target, name=f"stpe-{target.__name__}", daemon=True)
            for target in (self._keep_reading, self._keep_posting)
        ]
        for thread in threads:
            thread.start()
        try:
            while not self._stopped.wait(0.2):
                pass
        finally:
            self.stop()
            for thread in threads:
                thread.join(_OPEN_S)
        return self.counts

    def stop(self) -> None:
        """End soon. From any thread."""
        self._stopped.set()

    def _keep_reading(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._stopped.is_set():
            before = self.counts.frames
            why = self._read()
            if self._stopped.is_set():
                return
            if self.counts.frames > before:
                wait_s = _FIRST_WAIT_S
            log.warning("%s: %s; opening it again in %.1f s", self._said, why, wait_s)
            self._stopped.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _read(self) -> str:
        """Read until the stream breaks; returns why. Times are not looked at: the first frame of a
        stream that was joined midway may have none."""
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer"}
        if urlsplit(self._url).scheme == "udp":
            options = {"fflags": "nobuffer", "overrun_nonfatal": "1"}
        frames: deque[ImageHW3] = deque(maxlen=FRAMES)
        try:
            with av.open(
                self._url, options=options, timeout=(_OPEN_S, _SILENCE_S), metadata_errors="replace"
            ) as container:
                if not container.streams.video:
                    return "it has no video"
                stream = container.streams.video[0]
                self.counts.connects += 1
                log.info("%s: reading %s", self._said, stream.codec_context.name)
                for packet in container.demux(stream):
                    if self._stopped.is_set():
                        return "stopped"
                    for frame in _decoded(packet):
                        self._take(frame, frames)
        except ExitError:  # PyAV's way out of a wait that took too long
            return "nothing comes"
        except (FFmpegError, OSError, ValueError) as error:
            return str(getattr(error, "strerror", None) or error).lower()
        return "it ended"

    def _take(self, frame: av.VideoFrame, frames: deque[ImageHW3]) -> None:
        self.counts.frames += 1
        image = _small(frame)
        if frames and frames[-1].shape != image.shape:
            frames.clear()
        frames.append(image)
        if len(frames) < FRAMES:
            return
        self.counts.clips += 1
        clip = tuple(frames)
        frames.clear()
        while True:
            try:
                self._clips.put_nowait(clip)
                return
            except queue.Full:
                try:
                    self._clips.get_nowait()
                    self.counts.dropped += 1
                except queue.Empty:
                    pass

    def _keep_posting(self) -> None:
        while not self._stopped.is_set():
            try:
                clip = self._clips.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                self._post(clip)
            except RequestFailedError as error:
                self.counts.failed += 1
                log.warning("%s", error)
                self._stopped.wait(min(error.retry_after_s or 0.0, _LONGEST_WAIT_S))
            except StpeError as error:
                self.counts.failed += 1
                log.warning("%s", error)
                self._stopped.wait(_FIRST_WAIT_S)

    def _post(self, clip: tuple[ImageHW3, ...]) -> None:
        height, width = clip[0].shape[:2]
        encoded = [
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
            for image in clip
        ]
        begun = time.perf_counter()
        answer = self._client.classify(encoded, (width, height))
        self.counts.classified += 1
        if answer.predictions:
            self._report(answer.predictions[0], time.perf_counter() - begun)


def _decoded(packet: av.Packet) -> list[av.VideoFrame]:
    try:
        return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except FFmpegError:  # damaged on the way; the next keyframe mends it
        return []


def _small(frame: av.VideoFrame) -> ImageHW3:
    """BGR, reduced to the size that is sent."""
    scale = min(1.0, _SHORT_SIDE / min(frame.width, frame.height))
    size = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    image: ImageHW3 = frame.to_ndarray(width=size[0], height=size[1], format="bgr24")
    return image
