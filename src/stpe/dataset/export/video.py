"""Annotated video: H.264 MP4 with every frame of the source at its own time, and its sound.

Between analysed frames boxes, masks and joints are interpolated along each track: boxes dashed,
masks without an outline, and the line below the picture says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from stpe.dataset.export.between import Between
from stpe.dataset.export.draw import annotated, captioned, header_of, lines_of
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import Scene, SceneFrame, names, scene
from stpe.dataset.export.sound import Sound
from stpe.dataset.pixels import Timed, frames_of
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.video.frame import Grid, ImageHW3

SUFFIX = ".mp4"
#: Long side of the drawn picture: names stay readable and files small.
_LONG_SIDES = (640, 1280)
#: Ticks a second of the written presentation times.
_CLOCK = Fraction(1, 90_000)


def write(dataset: Dataset, out: Path, part: Part = WHOLE) -> None:
    """`<name>.mp4` for every video."""
    for video_id, name in names(dataset, part).items():
        write_one(dataset, video_id, out / f"{name}{SUFFIX}", part)


def write_one(dataset: Dataset, video_id: str, out: Path, part: Part = WHOLE) -> None:
    """One annotated video. Times are the source's, less that of the first frame written.

    Sound is copied where MP4 can hold it as it is, else encoded anew as AAC.

    Raises:
        DatasetError: no frame lies in the part, or the media are missing.
    """
    shown = scene(dataset, video_id)
    between = Between(shown)
    long_side = _long_side(shown)
    lines = caption_lines(shown.frames, shown.size, long_side)
    size = Grid("video", long_side=long_side).frame_size(*shown.size)
    media = dataset.media(video_id)
    with ExitStack() as stack:
        options = {"movflags": "+faststart"}
        container = stack.enter_context(av.open(str(out), "w", format="mp4", options=options))
        writer: _Writer | None = None
        for timed in _chosen(media, size, part):
            frame = between.at(timed.index, timed.pts)
            analysed = between.analysed(frame)
            picture = drawn(shown, frame, timed.image_HW3, long_side, lines, analysed)
            if writer is None:
                end_s = shown.end_s if part.until_s is None else part.until_s
                sound = stack.enter_context(closing(Sound(media, container, timed.pts, end_s)))
                writer = _Writer(container, shown, part, picture.shape[:2], timed.pts, sound)
            writer.add(picture, timed.pts, timed.end_s)
        if writer is None:
            raise DatasetError(
                f"video {video_id} has no frame there: it goes from {shown.start_s:g} s to "
                f"{shown.end_s:g} s"
            )
        writer.finish()


def _chosen(media: Path, size: tuple[int, int], part: Part) -> Iterator[Timed]:
    """Every frame of the part, each shown up to the next or the part's end."""
    held: Timed | None = None
    for timed in frames_of(media, size, part.since_s, part.until_s, part.fps):
        if held is not None:
            yield replace(held, end_s=timed.pts)
        held = timed
    if held is not None:
        yield held if part.until_s is None else replace(held, end_s=min(held.end_s, part.until_s))


class _Writer:
    """Encodes pictures at exact times, and the sound beside them."""

    def __init__(
        self,
        container: Any,
        shown: Scene,
        part: Part,
        shape: tuple[int, int],
        begin_s: float,
        sound: Sound,
    ) -> None:
        self._container = container
        self._begin_s = begin_s
        self._sound = sound
        rate = min(shown.video["fps"] or 1.0, part.fps or np.inf)
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = shape
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _CLOCK
        # Two threads, however many cores, and no B-frames: the same bytes everywhere, exact times.
        stream.codec_context.thread_count = 2
        stream.options = {"crf": "23", "preset": "veryfast", "bf": "0"}
        self._stream = stream
        self._durations: dict[int, int] = {}

    def add(self, picture: ImageHW3, pts: float, end_s: float) -> None:
        """A picture that is shown from one time of the source to another."""
        packed = av.VideoFrame.from_ndarray(picture, format="rgb24")
        packed.pts, packed.time_base = self._ticks(pts), _CLOCK
        self._durations[packed.pts] = max(1, self._ticks(end_s) - packed.pts)
        self._mux(self._stream.encode(packed))

    def finish(self) -> None:
        """Write what is left."""
        self._mux(self._stream.encode())
        self._sound.until(float("inf"))

    def _ticks(self, time_s: float) -> int:
        return round((time_s - self._begin_s) / _CLOCK)

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts)
            self._sound.until(float(packet.pts * packet.time_base))
            self._container.mux(packet)


def caption_lines(frames: Sequence[SceneFrame], size: tuple[int, int], long_side: int) -> int:
    """Lines that every picture of these frames needs for its caption, so that all are of one size.

    Args:
        frames: of a video of this stored `size`, (width, height).
        long_side: of the pictures.
    """
    return lines_of(map(_caption, frames), round(size[0] * long_side / max(size)))


def drawn(
    shown: Scene,
    frame: SceneFrame,
    image_HW3: ImageHW3,
    long_side: int,
    lines: int,
    analysed: bool = True,
) -> ImageHW3:
    """One frame as a finished picture of even size: annotated, with header and caption below."""
    height, width = image_HW3.shape[:2]
    scale = long_side / max(height, width)
    if scale > 1:
        size = round(width * scale), round(height * scale)
        image_HW3 = np.asarray(cv2.resize(image_HW3, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    picture = annotated(image_HW3, frame, shown.size)
    picture = captioned(picture, header_of(frame, analysed), _caption(frame), lines)
    return np.ascontiguousarray(picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1])


def _caption(frame: SceneFrame) -> str:
    return frame.row["caption_normal"] or frame.row["caption_brief"] or ""


def _long_side(shown: Scene) -> int:
    least, most = _LONG_SIDES
    return min(max(*shown.size, least), most)
