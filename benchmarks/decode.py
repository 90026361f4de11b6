"""What sampling costs over bare decoding: CPU seconds, and memory against length.

    python benchmarks/decode.py VIDEO [--seconds 60]

The video is re-encoded to 1280x720 H.264 at 25 fps, looped to the given length, then decoded bare
(PyAV, automatic threads, no conversion) and through `sample` with the four grids of the default
plan. CPU time counts all threads of the process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from stpe.stages.stage import CLIPS, MOTION, THUMBNAILS
from stpe.video import Grid, open_source, sample

GRIDS = {
    "bare decoding": (),
    "thumbnails (every frame, 48x27)": (THUMBNAILS,),
    "analysis (2 fps, 854x480)": (Grid("analysis", fps=2.0, size=(854, 480)),),
    "motion (10 fps, long side 480)": (MOTION,),
    "clips (12.5 fps, long side 320)": (CLIPS,),
    "all four": (Grid("analysis", fps=2.0, size=(854, 480)), MOTION, THUMBNAILS, CLIPS),
}


def looped(video: Path, seconds: float, out: Path) -> Path:
    """`video` as 720p H.264 at 25 fps, repeated until it is `seconds` long."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23"}
        count = 0
        while count < seconds * 25:
            with av.open(str(video)) as source:
                for frame in source.decode(video=0):
                    picture = frame.reformat(1280, 720, "yuv420p")
                    picture.pts, picture.time_base = count, Fraction(1, 25)
                    container.mux(stream.encode(picture))
                    count += 1
                    if count >= seconds * 25:
                        break
        container.mux(stream.encode())
    return out


def bare(path: Path) -> int:
    """Decode every frame and look at none."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def sampled(path: Path, grids: tuple[Grid, ...]) -> int:
    """Decode through the sampler; the consumer drops each frame at once."""
    with open_source(path) as source, sample(source, grids) as sampler:
        for _ in sampler:
            pass
        return sampler.measured.frame_count


def cpu_seconds(work: Callable[[], int]) -> tuple[float, float, int]:
    """(CPU seconds, wall seconds, frames) of the best of three runs."""
    best = (float("inf"), float("inf"), 0)
    for _ in range(3):
        cpu, wall = time.process_time(), time.monotonic()
        frames = work()
        best = min(best, (time.process_time() - cpu, time.monotonic() - wall, frames))
    return best


def peak(path: Path) -> None:
    """Print the peak memory of this process after sampling every grid."""
    frames = sampled(path, GRIDS["all four"])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory after {frames} frames: {used:.0f} MiB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = looped(args.video, args.seconds, Path(folder) / "clip.mp4")
        reference = 0.0
        print(f"{'grids':34} {'CPU ms/frame':>12} {'ratio':>6} {'frames/s':>9}")
        for name, grids in GRIDS.items():
            work = (lambda g=grids: sampled(path, g)) if grids else (lambda: bare(path))
            cpu, wall, frames = cpu_seconds(work)
            reference = reference or cpu
            print(
                f"{name:34} {cpu / frames * 1e3:12.2f} {cpu / reference:6.2f} {frames / wall:9.0f}"
            )
        for times in (1, 5):
            long = looped(path, times * args.seconds, Path(folder) / "long.mp4")
            code = f"import decode as d; from pathlib import Path; d.peak(Path({str(long)!r}))"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


if __name__ == "__main__":
    main()
