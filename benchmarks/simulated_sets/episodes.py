"""Which episodes there are, and each one recorded, processed and scored once."""

from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simulated_sets.tracks import LibraryTracks, library_tracks
from stpe.dataset.layout import MANIFEST
from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.matching import scenes
from stpe.evaluate.measure import Measure, NotScoredError
from stpe.evaluate.scorers.registry import SCORERS
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import RawView, View
from stpe.simulate import doom, physics

#: What no truth of ours says anything about, and what costs most.
WITHOUT = ("clips", "frames.dense", "objects.keypoints", "objects.keypoints_confidence")


@dataclass(frozen=True)
class Episode:
    """One seeded episode. Odd numbers test what even ones fit."""

    simulator: str
    number: int
    scenario: str
    policy: str = "scripted"

    @property
    def name(self) -> str:
        return f"{self.simulator}-{self.number:02d}-{self.scenario}"

    @property
    def seed(self) -> int:
        return 100 + self.number


@dataclass(frozen=True)
class Figure:
    """One metric of one episode: see `stpe.evaluate.measure.Measure`."""

    signal: str
    metric: str
    unit: str
    better: str
    n: int
    value: float
    baseline: float | None
    baseline_name: str


@dataclass
class Scores:
    """All that pooling needs of one episode.

    Attributes:
        beliefs: signal to (raw confidence_N, correct_N, what counts as right).
        moving: N x 3: truly moving, said to be, uncompensated speed in px/s.
    """

    episode: Episode
    figures: list[Figure]
    beliefs: dict[str, tuple[np.ndarray, np.ndarray, str]]
    moving: np.ndarray
    tracks: LibraryTracks | None
    unscored: dict[str, str] = field(default_factory=dict)


def episodes(simulator: str, count: int) -> list[Episode]:
    """The first `count` of a simulator: every scenario in turn, every camera in turn."""
    names = doom.SCENARIOS if simulator == "doom" else physics.SCENARIOS
    found = []
    for number in range(count):
        # One scenario further each round, or a scenario would always have the same camera and half.
        scenario = names[(number + number // len(names)) % len(names)]
        random_player = simulator == "doom" and number % 4 == 3
        found.append(
            Episode(simulator, number, scenario, "random" if random_player else "scripted")
        )
    return found


def scores(
    work: Path,
    episode: Episode,
    engine: Engine,
    seconds: float,
    size: tuple[int, int],
    fps: float,
    assume_camera: bool,
) -> Scores:
    """Record, process and score; whatever is there already is not made again.

    The camera's intrinsics are given, as a game knows its own, unless they are to be assumed.
    """
    folder = work / episode.name
    recording, dataset = folder / "episode", folder / "dataset"
    kept = folder / ("scores-assumed.pickle" if assume_camera else "scores-given.pickle")
    begun = time.monotonic()
    if not recording.exists():
        if episode.simulator == "doom":
            doom.record(recording, seconds, episode.seed, episode.scenario, size, episode.policy)
        else:
            physics.record(recording, seconds, episode.seed, episode.scenario, size)
    recorded = time.monotonic()
    result = engine.process(
        str(recording / "episode.mp4"),
        dataset,
        fps=fps,
        without=WITHOUT,
        state=recording / "state.jsonl",
        camera="" if assume_camera else _intrinsics(recording),
    )
    processed = time.monotonic()
    if kept.exists() and kept.stat().st_mtime > (dataset / MANIFEST).stat().st_mtime:
        found: Scores = pickle.loads(kept.read_bytes())
        return found
    view = View(open_dataset(dataset), result.videos[0].video_id)
    truth = read_truth(recording / "truth", view.size)
    found = _scored(episode, view, truth)
    kept.write_bytes(pickle.dumps(found))
    took = (recorded - begun, processed - recorded, time.monotonic() - processed)
    print("{}: recorded in {:.0f} s, processed in {:.0f} s, scored in {:.0f} s".format(
        episode.name, *took), file=sys.stderr, flush=True)  # fmt: skip
    return found


def _intrinsics(recording: Path) -> str:
    facts = json.loads((recording / "truth" / "truth.json").read_text())
    return json.dumps(facts["intrinsics"])


def _scored(episode: Episode, view: View, truth: Truth) -> Scores:
    unscored: dict[str, str] = {}
    measures = list(_measures(view, truth, unscored))
    once = np.ones(view.blocks.count)
    figures = [
        Figure(
            m.signal,
            m.metric,
            m.unit,
            m.better,
            m.n,
            m.figure(once),
            None if m.baseline is None else m.baseline(once),
            m.baseline_name.partition(" above ")[0],
        )
        for m in measures
    ]
    raw = RawView(view.dataset, view.video_id)
    beliefs = {
        m.signal: (m.belief.confidence_N, m.belief.correct_N, m.belief.right)
        for m in _measures(raw, truth)
        if m.belief is not None
    }
    # The library's thresholds are about a detector's own scores, as our tracker's are.
    tracks = None if "tracks" in unscored else library_tracks(raw, truth)
    return Scores(episode, figures, beliefs, _moving(view, truth), tracks, unscored)


def _measures(
    view: View, truth: Truth, unscored: dict[str, str] | None = None
) -> Iterator[Measure]:
    for name, scorer in SCORERS.items():
        try:
            yield from scorer(view, truth)
        except NotScoredError as reason:
            if unscored is not None:
                unscored[name] = str(reason)


def _moving(view: View, truth: Truth) -> np.ndarray:
    rows: list[Any] = []
    for scene in scenes(view, truth):
        on = [(t.moving, row) for t, row, _ in scene.pairs() if t.moving is not None]
        for moves, row in (*on, *((False, row) for row in scene.scenery)):
            if row["motion"] in ("moving", "static") and row["velocity_px_s"] is not None:
                speed = float(np.hypot(*row["velocity_px_s"]))
                rows.append((moves, row["motion"] == "moving", speed))
    return np.array(rows, np.float64).reshape(-1, 3)
