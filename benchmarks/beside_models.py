"""Processor seconds of each stage on a video, what of them the catalog's cost of its models
explains, and the rest a frame: the rates in `src/stpe/pipeline/rates.py`.

    python benchmarks/beside_models.py VIDEO [VIDEO ...]

One worker at a time runs, so that the processor time of the process is the stage's. The first call
of a stage, which loads its models, is counted as starting. The last line compares the plan's
estimate with the processor time of the whole run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from stpe import Engine, open_source
from stpe.models.processor import core_count
from stpe.pipeline import rates
from stpe.pipeline.estimate import describe
from stpe.stages.registry import STAGES


def main() -> None:
    """Measure each video named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+")
    videos = parser.parse_args().videos
    spent: dict[str, list[float]] = defaultdict(list)
    for stage in STAGES:
        _watch(stage, spent)
    with Engine("embedded", workers=1) as engine:
        for video in videos:
            spent.clear()
            _measure(engine, video, spent)


def _watch(stage: Any, spent: dict[str, list[float]]) -> None:
    process = stage.process

    def watched(self: Any, window: Any) -> Any:
        begun = time.process_time()
        try:
            return process(self, window)
        finally:
            spent[stage.name].append(time.process_time() - begun)

    stage.process = watched


def _measure(engine: Engine, video: str, spent: dict[str, list[float]]) -> None:
    with open_source(video) as source:
        plan = describe(engine.plan(), source.info)
        facts = source.info
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = engine.process(video, out=Path(folder) / "ds").videos[0]
    whole = time.process_time() - begun
    frames = result.rows["frames"]
    print(f"{video}: {facts.width}x{facts.height}, {facts.duration_s:.1f} s, {frames} frames")
    print(f"{'stage':<18} {'calls':>6} {'first':>7} {'processor s':>12} {'by the plan':>12}")
    for stage in plan["stages"]:
        calls = spent[stage["stage"]]
        expected = (stage["seconds"] or 0.0) * core_count() * rates.BUSY
        first = f"{calls[0]:>7.2f}" if calls else f"{'':>7}"
        print(f"{stage['stage']:<18} {len(calls):>6} {first} {sum(calls):>12.2f} {expected:>12.2f}")
    outside = whole - sum(map(sum, spent.values()))
    beside = sum(plan["seconds_beside"].values()) * core_count() * rates.BUSY
    print(f"{'outside stages':<18} {'':>6} {'':>7} {outside:>12.2f} {beside:>12.2f}")
    expected = plan["seconds"] * core_count() * rates.BUSY
    print(f"{'all':<18} {'':>6} {'':>7} {whole:>12.2f} {expected:>12.2f}\n")


if __name__ == "__main__":
    main()
