"""Speed of the default plan, as ratios within one run, on a 720p clip.

    python benchmarks/pipeline.py [--seconds 60] [--fps 2] [--out FILE.json]

1. the default plan on the clip, every model call counted;
2. the plain script of `speed/plain.py` on the same clip, doing the same model work;
3. each model alone, in the same runtime's throughput mode with every core, at the input sizes of
   step 1: number of calls times seconds a call is the time that inference has to take;
4. decoding alone.

What other processes take of the machine meanwhile is printed with each; ratios of processor time
suffer less from it than those of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from speed import clip as clips
from speed.plain import Plain, graphs
from speed.record import Record, alone, recording
from stpe import Engine, open_source
from stpe.models.processor import core_count, native_bf16
from stpe.pipeline.sampling import Sampling
from stpe.stages.stage import ANALYSIS, CLIPS, MOTION, THUMBNAILS
from stpe.video.sampler import sample

HERE = Path(__file__).resolve().parent


@dataclass
class Cost:
    """Of a block: wall seconds, processor seconds of this process, and how busy the machine was
    with others, 0..1 of its cores."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    others: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block."""
    cost = Cost()
    wall, cpu, busy = time.perf_counter(), time.process_time(), _busy_s()
    yield cost
    cost.wall_s = time.perf_counter() - wall
    cost.cpu_s = time.process_time() - cpu
    cost.others = max(0.0, (_busy_s() - busy - cost.cpu_s) / (cost.wall_s * (os.cpu_count() or 1)))


def _busy_s() -> float:
    """Processor seconds all processes have used since boot; zero where that is not told."""
    try:
        fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    except OSError:
        return 0.0
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        document = run(Path(name), options.seconds, options.fps, options.data)
    document["command"] = " ".join(["python benchmarks/pipeline.py", *sys.argv[1:]])
    print(json.dumps(document, indent=1))
    if options.out:
        options.out.write_text(json.dumps(document, indent=1) + "\n")


def run(folder: Path, seconds: float, fps: float, data: Path) -> dict[str, Any]:
    """All four measurements."""
    clip = folder / "clip.mp4"
    shows = clips.write(clip, seconds, data)
    with recording() as record, Engine("embedded") as engine:
        with measured() as ours:
            result = engine.process(clip, folder / "dataset", fps=fps)
        stages = {s.name: round(s.seconds, 2) for s in result.videos[0].stages}
        frames = result.videos[0].rows["frames"]
        peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        _say("default plan", ours)
    shutil.rmtree(folder / "dataset")
    kinds = list(record.kinds.values())
    files = graphs(folder)
    with measured() as plain:
        done = Plain(files, kinds, frames, fps).process(clip)
    _say("plain script", plain)
    with measured() as decoding:
        decode(clip, fps)
    _say("decoding", decoding)
    models, inference_s = _models(record)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "machine": {"cores": core_count(), "cpu": _cpu(), "bf16": native_bf16()},
        "clip": {"seconds": seconds, "size": f"{clips.WIDTH}x{clips.HEIGHT}", "shows": shows},
        "default_plan": {
            "wall_s": round(ours.wall_s, 1),
            "cpu_s": round(ours.cpu_s, 1),
            "machine_busy_with_others": round(ours.others, 2),
            "wall_s_per_video_minute": round(ours.wall_s * 60 / seconds, 1),
            "peak_mb": peak_mb,
            "stage_seconds": stages,
        },
        "inference_alone_s": round(inference_s, 1),
        "inference_share_of_wall": round(inference_s / ours.wall_s, 3),
        "inference_share_of_own_cpu_time": round(
            sum(m["alone_cpu_s"] for m in models) / ours.cpu_s, 3
        ),
        "plain_script": {
            "wall_s": round(plain.wall_s, 1),
            "cpu_s": round(plain.cpu_s, 1),
            "machine_busy_with_others": round(plain.others, 2),
            "calls": done,
        },
        "times_faster_than_plain": round(plain.wall_s / ours.wall_s, 2),
        "times_less_cpu_than_plain": round(plain.cpu_s / ours.cpu_s, 2),
        "decode": {
            "wall_s": round(decoding.wall_s, 2),
            "cpu_s": round(decoding.cpu_s, 2),
            "share_of_cpu": round(decoding.cpu_s / ours.cpu_s, 3),
        },
        "models": models,
    }


def decode(clip: Path, fps: float) -> int:
    """One pass that gives every grid its frames, as the pipeline's does, and drops them."""
    sampling = Sampling(fps)
    with open_source(str(clip)) as source:
        grids = [sampling.resolve(grid) for grid in (ANALYSIS, THUMBNAILS, CLIPS, MOTION)]
        fast = sample(source, grids)
        return sum(1 for _ in fast)


def _models(record: Record) -> tuple[list[dict[str, Any]], float]:
    """What each model cost in the run and alone, and the seconds all of it takes alone."""
    rows = []
    total: dict[str, float] = defaultdict(float)
    for kind in sorted(record.kinds.values(), key=lambda k: -k.seconds):
        wall_s, cpu_s = alone(kind)
        total["s"] += kind.count * wall_s
        rows.append(
            {
                "model": kind.name,
                "inputs": {name: list(shape) for name, shape in kind.shapes},
                "calls": kind.count,
                "alone_ms_a_call": round(1000 * wall_s, 2),
                "alone_s": round(kind.count * wall_s, 2),
                "alone_cpu_s": round(kind.count * cpu_s, 2),
                "in_run_thread_s": round(kind.seconds, 2),
            }
        )
        print(f"{kind.name}: {kind.count} x {1000 * wall_s:.1f} ms", file=sys.stderr, flush=True)
    return rows, total["s"]


def _say(what: str, cost: Cost) -> None:
    text = f"{what}: {cost.wall_s:.1f} s, {cost.cpu_s:.1f} s of processor, others {cost.others:.0%}"
    print(text, file=sys.stderr, flush=True)


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    )
    return found.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next(
        (ln.split(":")[1].strip() for ln in lines if ln.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    main()
