"""Which signals tell what comes next: seeded game episodes, processed, and `stpe train` on them.

    python benchmarks/gain.py [--episodes 10] [--seconds 16] [--work DIR] [--out REPORT.md]

Episodes are recorded and processed where they are not in DIR already, so that a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stpe.engine import Engine
from stpe.simulate.doom import record
from stpe.train.report import train

#: Every signal that `stpe.train.groups` reads, and no more.
SIGNALS = (
    "frames.embedding",
    "frames.camera_rotation_deg",
    "frames.camera_translation",
    "frames.camera_confidence",
    "frames.depth",
    "frames.depth_shape",
    "motion.interval_s",
    "motion.flow",
    "motion.flow_shape",
    "objects.label",
    "objects.area_px",
    "objects.box_xyxy",
    "objects.motion",
    "objects.object_velocity_px_s",
    "objects.track_id",
    "clips.end_pts",
    "clips.embedding",
    "clips.surprise",
)
SCENARIOS = ("deathmatch", "my_way_home", "health_gathering_supreme", "deadly_corridor")


def say(line: str) -> None:
    print(line, file=sys.stderr)


def prepare(work: Path, episodes: int, seconds: float, fps: float) -> list[Path]:
    """The dataset of each episode, a seed each, scenarios in turn."""
    found = []
    with Engine("embedded") as engine:
        for seed in range(episodes):
            scenario = SCENARIOS[seed % len(SCENARIOS)]
            folder = work / f"{scenario}-{seed}"
            if not folder.exists():
                record(folder, seconds, seed, scenario, (320, 240))
            say(f"{scenario}, seed {seed}: processing")
            engine.process(
                folder / "episode.mp4",
                work / f"{scenario}-{seed}-dataset",
                fps=fps,
                resolution=320,
                signals=SIGNALS,
                state=folder / "state.jsonl",
            )
            found.append(work / f"{scenario}-{seed}-dataset")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=16.0)
    parser.add_argument("--fps", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        datasets = prepare(work, given.episodes, given.seconds, given.fps)
        prepared = time.perf_counter()
        report = train(datasets, given.seed, say=say)
        done = time.perf_counter()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    options = f"--episodes {given.episodes} --seconds {given.seconds:g} --fps {given.fps:g}"
    text = (
        f"# Does the data help? {time.strftime('%Y-%m-%d')}\n\n"
        f"`python benchmarks/gain.py {options}` at {commit}, {platform.machine()} with "
        f"{len(os.sched_getaffinity(0))} cores: recording and processing "
        f"{prepared - begun:.0f} s, training and measuring {done - prepared:.0f} s. Doom episodes "
        f"of {', '.join(SCENARIOS)}, a seed each, embedded profile.\n\n{report.markdown()}"
    )
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
