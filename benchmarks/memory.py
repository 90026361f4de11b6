"""Peak memory of `stpe process` on videos of different length.

    python benchmarks/memory.py [--minutes 1 5 20] [-- options of stpe process]

The clips are generated (720p, 30 frames a second, H.264). What follows `--` goes to the command,
such as `--signals frames.embedding,motion`; by default everything is computed, which takes long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS = 1280, 720, 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 20])
    parser.add_argument("options", nargs="*", help="options of `stpe process`, after --")
    chosen = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        for minutes in chosen.minutes:
            clip = write(Path(name) / "clip.mp4", minutes)
            out = Path(name) / f"{minutes:g}"
            peak_mb = measure(["process", str(clip), "--out", str(out), *chosen.options])
            peaks.append(peak_mb)
            print(f"{minutes:6g} min  {peak_mb:7.0f} MB", flush=True)
    growth = max(peaks) / min(peaks) - 1
    print(f"largest over smallest: +{growth:.1%}")
    return int(growth > 0.10)


def write(path: Path, minutes: float) -> Path:
    """A clip whose picture changes a little every frame and wholly every five seconds; encoded in
    a process of its own, so that only the measured one counts."""
    child = os.fork()
    if child == 0:
        _encode(path, round(minutes * 60 * FPS))
        os._exit(0)
    os.waitpid(child, 0)
    return path


def _encode(path: Path, frames: int) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (8, HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    scenes = coarse.repeat(16, axis=1).repeat(16, axis=2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(frames):
            image = np.roll(scenes[i // (5 * FPS) % len(scenes)], 2 * i, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image))))
        container.mux(stream.encode())


def measure(arguments: list[str]) -> float:
    """Peak resident memory of one command in MB."""
    program = [sys.executable, "-c", "from stpe.cli import main; main()"]
    process = subprocess.Popen([*program, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"stpe {' '.join(arguments)} failed")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
