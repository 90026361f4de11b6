"""Every signal on recorded episodes, with intervals over episodes and the baselines beside.

    python benchmarks/scorecards.py [--episodes 10] [--seconds 10] [--fps 5] [--cache FOLDER]
                                    [--out FILE.json]

Each episode is recorded by its seed, processed by the default CPU plan with its state log, and
scored by `stpe.evaluate`. Identities are also compared with a library: every tracker of `trackers`
over a grid of its thresholds, on the same detections, the best of each metric on each episode.
`--cache` keeps recordings and datasets; the same call again only scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from quality_sets import tracking as library
from stpe import Engine, open_dataset
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.matching import Scene, scenes
from stpe.evaluate.overlap import box_iou
from stpe.evaluate.pool import Pooled, pool
from stpe.evaluate.report import number, span
from stpe.evaluate.run import evaluate_dataset
from stpe.evaluate.scorecard import Scorecard, choose_video
from stpe.evaluate.scorers.tracking import pair
from stpe.evaluate.tracking import score_tracking
from stpe.evaluate.view import View
from stpe.simulate.doom import SCENARIOS, record

_TRACKED = {"HOTA": "hota", "MOTA": "mota", "IDF1": "idf1"}


def main() -> int:
    """Record, process and score; print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Engine(profile="embedded") as engine:
        folder = options.cache or Path(scratch)
        cards = []
        for number_ in range(options.episodes):
            seed = options.first_seed + number_
            scenario = SCENARIOS[number_ % len(SCENARIOS)]
            name = f"{scenario}-{seed}-{options.seconds:g}s-{options.fps:g}fps"
            print(f"{number_ + 1} of {options.episodes}: {name}", file=sys.stderr)
            episode, dataset = folder / name, folder / f"{name}.ds"
            if not episode.exists():
                record(episode, options.seconds, seed, scenario)
            log = episode / "state.jsonl"
            engine.process(episode / "episode.mp4", out=dataset, fps=options.fps, state=log)
            card = evaluate_dataset(dataset, episode).card
            cards.append(_against_library(card, dataset, episode))
    rows = pool(cards)
    print("\n".join(_lines(rows)))
    if options.out:
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


def _lines(rows: list[Pooled]) -> list[str]:
    lines = [
        "| signal | metric | value | 95 % interval | baseline | its value | gain | 95 % interval "
        "| episodes | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {r.signal} | {r.metric} ({r.better} is better) | {number(r.value)} {r.unit} "
        f"| {span(r.interval)} | {r.baseline_name} | {number(r.baseline)} | {number(r.gain)} "
        f"| {span(r.gain_interval)} | {r.videos} | {r.n} |"
        for r in rows
    ]


def _against_library(card: Scorecard, path: Path, episode: Path) -> Scorecard:
    """The card with the library's best tracker as the baseline of identities."""
    dataset = open_dataset(path)
    view = View(dataset, choose_video(dataset, None))
    seen = scenes(view, read_truth(episode), boxes_only=True)
    detections = _detections(view)
    best = dict.fromkeys(_TRACKED, float("-inf"))
    for _, tracker in library._candidates():
        tracks = library._tracked(tracker, [detections[i] for i in map(int, view.analysed)])
        frames = [pair(_retracked(scene, tracks, view), 0) for scene in seen]
        score = score_tracking(frames)
        best = {name: max(best[name], getattr(score, field)) for name, field in _TRACKED.items()}
    rows = [
        replace(
            row,
            baseline=best[row.metric],
            baseline_name="best library tracker, best thresholds",
            baseline_gain=row.value - best[row.metric],
        )
        if row.signal == "objects.track_id" and row.metric in best and row.value is not None
        else row
        for row in card.rows
    ]
    return replace(card, rows=tuple(rows))


def _detections(view: View) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    boxes: dict[int, list[Any]] = defaultdict(list)
    for row in view.rows("objects", ("frame_index", "box_xyxy", "confidence")):
        boxes[row["frame_index"]].append([*row["box_xyxy"], row["confidence"]])
    rows = {int(i): np.array(boxes[int(i)], np.float32).reshape(-1, 5) for i in view.analysed}
    return {index: (found[:, :4], found[:, 4]) for index, found in rows.items()}


def _retracked(scene: Scene, tracks: np.ndarray, view: View) -> Scene:
    """The scene with the library's identities on the boxes that it kept."""
    place = int(np.searchsorted(view.analysed, scene.frame))
    mine = tracks[tracks[:, 0] == place]
    boxes = np.array([row["box_xyxy"] for row in scene.found]).reshape(-1, 4)
    overlap = box_iou(boxes, mine[:, 2:6])
    found = [
        {**row, "track_id": int(mine[same.argmax(), 1]) if same.max(initial=0) > 0.99 else None}
        for row, same in zip(scene.found, overlap, strict=True)
    ]
    return replace(scene, found=tuple(found))


if __name__ == "__main__":
    sys.exit(main())
