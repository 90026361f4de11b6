"""Errors of the lag that `stpe align` recovers from logs with faults put in.

    python benchmarks/alignment.py [--cases 60] [EPISODE_FOLDER ...]

Synthetic rotation always; for a folder of `stpe simulate doom` also its real video (processed
once, embedded models) with faults put into its log.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.state.align import Certificate, align
from stpe.state.log import StateLog, assemble
from stpe.state.motion import VideoMotion
from stpe.state.reading import read_log

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "state"))
from state_cases import frame_times, seen, told

Case = tuple[float, Certificate]


def synthetic(cases: int) -> list[Case]:
    """Made players of 20 s."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(cases):
        lag, drift = rng.uniform(-1.5, 1.5), rng.uniform(0, 500e-6)
        log = told(seed, lag, drift, jitter_s=0.01, drop=0.01)
        found.append((lag, align(log, frame_times(), seen(seed))))
    return found


def recorded(folder: Path, cases: int) -> list[Case]:
    """One episode; the log without its frame numbers."""
    log = read_log(folder / "state.jsonl")
    times = np.array([row.time for row in log.rows], np.float64)
    with tempfile.TemporaryDirectory() as scratch, Engine("embedded") as engine:
        out = Path(scratch) / "dataset"
        engine.process(folder / "episode.mp4", out, signals=["motion.camera_rotation_deg"])
        motion = VideoMotion.of(open_dataset(out).arrow("motion"))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(cases):
        lag, drift = rng.uniform(-1.5, 1.5), rng.uniform(0, 500e-6)
        found.append((lag, align(_faulty(log, times, lag, drift, rng), times, motion)))
    return found


def _faulty(
    log: StateLog, times: np.ndarray, lag: float, drift: float, rng: np.random.Generator
) -> StateLog:
    stamps = times + lag + drift * (times - times.mean()) + 0.01 * rng.normal(size=len(times))
    kept = np.flatnonzero(rng.random(len(times)) >= 0.01)
    rows = [dataclasses.replace(log.rows[i], time=float(stamps[i]), frame=None) for i in kept]
    return assemble(rows, log.kind, log.sha256, "made")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("episodes", nargs="*", type=Path)
    given = parser.parse_args()
    print("| source | cases | aligned | median ms | p95 ms | worst ms | wrongly certified |")
    print("|---|---|---|---|---|---|---|")
    sets = {"synthetic": synthetic(given.cases)}
    sets |= {folder.name: recorded(folder, given.cases) for folder in given.episodes}
    for name, cases in sets.items():
        errors = [
            abs(c.lag_ms - 1e3 * lag) for lag, c in cases if c.aligned and c.lag_ms is not None
        ]
        told_ = (
            [f"{v:.1f}" for v in (np.median(errors), np.percentile(errors, 95), max(errors))]
            if errors
            else ["-"] * 3
        )
        wrong = sum(e > 50 for e in errors)
        print(f"| {name} | {len(cases)} | {len(errors)} | {' | '.join(told_)} | {wrong} |")


if __name__ == "__main__":
    main()
