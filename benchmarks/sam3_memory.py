"""What a SAM 3 video session holds, frame by frame, against one that gives nothing up.

    python benchmarks/sam3_memory.py [--side 252] [--frames 300] [--session-mb 1024]

The model is SAM 3's architecture with random weights at half of its width, for images of `--side`
(a multiple of 84; 1008 is the real one), its backbone cut to four layers, which hold nothing
between frames. Two objects are pointed at and followed forward. Prints the
session's own tensors and the process's memory at several frames; then the same for a quarter of
the frames with pruning turned off, which is what transformers keeps beside the frames themselves,
and what each way grows by an object a frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil

from sam3_prompts import config, save
from stpe.models.backends.transformers import sam3_video
from stpe.models.backends.transformers.sam3_memory import Memories
from stpe.models.roles import VideoPrompt

OBJECTS = np.array([[100, 80, 300, 400], [500, 100, 800, 500]], np.float32)
_WARM = 20  # frames until memory is full


class Clip:
    """Noise that moves to the right."""

    def __init__(self, count: int) -> None:
        self.pts = [index / 25 for index in range(count)]
        generator = np.random.default_rng(0)
        self._image = generator.integers(0, 255, (540, 960, 3), dtype=np.uint8)

    def image(self, index: int) -> np.ndarray:
        """The frame, made anew."""
        return np.roll(self._image, 3 * index, axis=1)


def follow(model: sam3_video.Sam3Video, count: int, name: str) -> None:
    """Walk through a clip and print what is held."""
    session = model.open(Clip(count))
    one = np.ones(1, np.int32)
    for box in OBJECTS:
        session.prompt(0, VideoPrompt(boxes_N4=box[None], box_labels_N=one))
    process = psutil.Process()
    rows = []
    for frame in session.propagate("forward"):
        rows.append((session.held_bytes, process.memory_info().rss))
        if frame.index % max(1, count // 6) == 0 or frame.index == count - 1:
            held, resident = (each / 1e6 for each in rows[-1])
            print(
                f"{name}: frame {frame.index}, session {held:.1f} MB, process {resident:.0f} MB",
                flush=True,
            )
    start = min(_WARM, count // 2)
    grown = [
        (last - first) / (count - 1 - start) / len(OBJECTS) / 1e3
        for first, last in zip(rows[start], rows[-1], strict=True)
    ]
    print(
        f"{name}: from frame {start} on, an object a frame adds {grown[0]:.1f} kB to the session "
        f"and {grown[1]:.1f} kB to the process"
    )
    session.close()
    print(f"{name}: after close {session.held_bytes} bytes")


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=252)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--session-mb", type=float, default=1024)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(f"building a model for {asked.side} pixels", file=sys.stderr)
        small = config(2, asked.side)
        backbone = small.detector_config.vision_config.backbone_config
        backbone.num_hidden_layers, backbone.global_attn_indexes = 4, [3]
        save(Path(name), small)
        options = {"session_mb": asked.session_mb}
        model = sam3_video.load({"repository": Path(name)}, options)
        follow(model, asked.frames, "pruned")
        Memories.prune = Memories.slim = lambda *_: None  # type: ignore[method-assign]
        follow(model, max(2 * _WARM, asked.frames // 4), "nothing given up")


if __name__ == "__main__":
    main()
