"""The clip that speed is measured on: 720p, 30 frames a second, any length.

Where the folder of labelled clips is present it is real video, several clips one after another;
elsewhere textured shapes that move over a moving ground, so that every stage has something to do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

WIDTH, HEIGHT, RATE = 1280, 720, 30
CLIPS = (
    "sam2_01_dog.mp4",
    "sam2_02_cups.mp4",
    "vipe_dog-example.mp4",
    "sam2_05_default_juggle.mp4",
    "sam2_bedroom.mp4",
    "vda_davis_rollercoaster.mp4",
)


def write(path: Path, seconds: float, data: Path) -> str:
    """Encode the clip; returns what it shows."""
    folder = data / "plain_clips"
    real = all((folder / name).is_file() for name in CLIPS)
    pictures = _real(folder) if real else _drawn()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in itertools.islice(pictures, round(seconds * RATE)):
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return f"{len(CLIPS)} clips in turn: {', '.join(CLIPS)}" if real else "drawn shapes"


def _real(folder: Path) -> Iterator[av.VideoFrame]:
    """Every frame of the clips, over and over, at RATE frames a second whatever theirs is."""
    for name in itertools.cycle(CLIPS):
        with av.open(str(folder / name)) as container:
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(width=WIDTH, height=HEIGHT, format="yuv420p")
                yield av.VideoFrame.from_ndarray(picture, format="yuv420p")


def _drawn() -> Iterator[av.VideoFrame]:
    rng = np.random.default_rng(0)
    shapes = rng.uniform(60, 200, (6, 2)), rng.uniform(-6, 6, (6, 2)), rng.integers(0, 255, (6, 3))
    for number in itertools.count():
        if number % (8 * RATE) == 0:
            coarse = rng.integers(40, 215, (HEIGHT // 8, WIDTH // 4, 3), np.uint8)
            ground = cv2.resize(coarse, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        left = 4 * (number % (8 * RATE))
        image = np.ascontiguousarray(ground[:, left : left + WIDTH])
        for size, step, colour in zip(*shapes, strict=True):
            centre = (size * 3 + step * number) % (WIDTH, HEIGHT)
            axes = tuple(int(v) for v in size / 2)
            spot = tuple(int(v) for v in centre)
            cv2.ellipse(image, spot, axes, 3 * number, 0, 360, colour.tolist(), -1, cv2.LINE_AA)
        yield av.VideoFrame.from_ndarray(image, format="rgb24")
