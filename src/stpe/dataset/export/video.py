"""Annotated video: H.264 MP4 at the analysis rate, with the frames' true presentation times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from stpe.dataset.export.draw import annotated, captioned, header_of, lines_of
from stpe.dataset.export.scene import Scene, SceneFrame, names, scene
from stpe.dataset.reader import Dataset
from stpe.video.frame import ImageHW3

SUFFIX = ".mp4"
#: Long side of the drawn picture: names stay readable and files small.
_LONG_SIDES = (640, 1280)
#: Ticks a second of the written presentation times.
_CLOCK = 90_000


def write(dataset: Dataset, out: Path) -> None:
    """`<name>.mp4` for every video."""
    for video_id, name in names(dataset).items():
        write_one(dataset, video_id, out / f"{name}{SUFFIX}")


def write_one(dataset: Dataset, video_id: str, out: Path) -> None:
    """One annotated video. Times count from the source's own zero, shifted to begin at 0."""
    shown = scene(dataset, video_id)
    long_side = _long_side(shown)
    with av.open(str(out), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        first = shown.frames[0].pts if shown.frames else 0.0
        lines = caption_lines(shown.frames, shown.size, long_side)
        small = shown.images(long_side=long_side)
        for frame, image in zip(shown.frames, small, strict=True):
            picture = drawn(shown, frame, image, long_side, lines)
            if stream is None:
                rate = Fraction(shown.fps or 1.0).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.time_base = Fraction(1, _CLOCK)
                stream.codec_context.time_base = Fraction(1, _CLOCK)
                # One thread and no B-frames: the same bytes on every machine, exact times.
                stream.codec_context.thread_count = 1
                stream.options = {"crf": "20", "preset": "veryfast", "bf": "0"}
            packed = av.VideoFrame.from_ndarray(picture, format="rgb24")
            packed.pts = round((frame.pts - first) * _CLOCK)
            packed.time_base = Fraction(1, _CLOCK)
            container.mux(stream.encode(packed))
        if stream is not None:
            container.mux(stream.encode())


def caption_lines(frames: Sequence[SceneFrame], size: tuple[int, int], long_side: int) -> int:
    """Lines that every picture of these frames needs for its caption, so that all are of one size.

    Args:
        frames: of a video of this stored `size`, (width, height).
        long_side: of the pictures.
    """
    return lines_of(map(_caption, frames), round(size[0] * long_side / max(size)))


def drawn(
    shown: Scene, frame: SceneFrame, image_HW3: ImageHW3, long_side: int, lines: int
) -> ImageHW3:
    """One frame as a finished picture of even size: annotated, with header and caption below."""
    height, width = image_HW3.shape[:2]
    scale = long_side / max(height, width)
    if scale > 1:
        size = round(width * scale), round(height * scale)
        image_HW3 = np.asarray(cv2.resize(image_HW3, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    picture = annotated(image_HW3, frame, shown.size)
    picture = captioned(picture, header_of(frame), _caption(frame), lines)
    return np.ascontiguousarray(picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1])


def _caption(frame: SceneFrame) -> str:
    return frame.row["caption_normal"] or frame.row["caption_brief"] or ""


def _long_side(shown: Scene) -> int:
    least, most = _LONG_SIDES
    return min(max(*shown.size, least), most)
