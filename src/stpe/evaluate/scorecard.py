"""The scorecard of one video: every signal that there is truth for, with intervals.

It is the same for the same dataset, truth and version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset
from stpe.errors import TruthError, UsageError
from stpe.evaluate.measure import Belief, Better, Figure, Measure, NotScoredError
from stpe.evaluate.reliability import Reliability, reliability
from stpe.evaluate.scorers.registry import SCORERS
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import RawView, View

F64 = NDArray[np.float64]

VERSION = 1
#: Bootstrap resamples of the video's blocks, and the seed they are drawn with.
DRAWS, SEED = 400, 0
#: Fewer blocks than this say nothing about spread.
LEAST_BLOCKS = 3


@dataclass(frozen=True)
class Row:
    """One metric of one signal.

    Attributes:
        value: None where nothing counted. interval: 95 % bootstrap interval over blocks of time.
        baseline: the same metric of `baseline_name` on the same samples; baseline_gain: by how
            much the value is better, with its interval (positive is better).
        draws: the bootstrap replicates, block draws the same for every card of the same video, so
            that two cards can be compared pair by pair.
        See `Measure` for the rest.
    """

    signal: str
    metric: str
    value: float | None
    unit: str
    better: Better
    n: int
    counted: str
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    baseline_name: str = ""
    baseline_gain: float | None = None
    baseline_gain_interval: tuple[float, float] | None = None
    note: str = ""
    draws: tuple[float | None, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """Signal and metric, which identify a row of a card."""
        return f"{self.signal} {self.metric}"


@dataclass(frozen=True)
class Curve:
    """Error of one signal over time, for plots: larger is worse."""

    signal: str
    metric: str
    unit: str
    frames: tuple[int, ...]
    pts: tuple[float | None, ...]
    error: tuple[float, ...]


@dataclass(frozen=True)
class Trust:
    """How well one signal's stored confidence says how often it is right.

    `raw_ece` is the calibration error of the confidence before it was calibrated; None where the
    dataset has no raw one.
    """

    signal: str
    right: str
    reliability: Reliability
    raw_ece: float | None


@dataclass(frozen=True)
class Scorecard:
    """Everything scored on one video.

    Attributes:
        truth_read_as: what the truth was taken for, a sentence each.
        unscored: group of signals to the reason why it has no row.
        blocks: stretches of time that the bootstrap draws from.
        plan_key: what the video's rows depended on when they were scored.
    """

    video_id: str
    plan_key: str
    uri: str
    truth_kind: str
    truth_path: str
    frame_count: int
    duration_s: float | None
    blocks: int
    rows: tuple[Row, ...]
    unscored: Mapping[str, str]
    curves: tuple[Curve, ...] = ()
    trust: tuple[Trust, ...] = ()
    truth_read_as: tuple[str, ...] = ()

    def row(self, name: str) -> Row | None:
        """The row called `signal metric`."""
        return next((row for row in self.rows if row.name == name), None)

    def brief(self) -> Scorecard:
        """The card without replicates and curves: what a reader of figures wants."""
        return replace(self, rows=tuple(replace(r, draws=()) for r in self.rows), curves=())

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return {"version": VERSION, **asdict(self)}


def choose_video(dataset: Dataset, video_id: str | None) -> str:
    """The video meant. Raises UsageError where that is not clear."""
    videos = dataset.videos
    if video_id is not None:
        if video_id not in videos:
            raise UsageError(f"no video {video_id!r} in {dataset.path}: {', '.join(videos)}")
        return video_id
    if not videos:
        raise UsageError(f"{dataset.path} has no video: process one first")
    if len(videos) > 1:
        raise UsageError(
            f"{dataset.path} has {len(videos)} videos: say which with --video ({', '.join(videos)})"
        )
    return videos[0]


def evaluate(dataset: Dataset, video_id: str, truth: Truth) -> Scorecard:
    """Score one video against its truth.

    Raises:
        TruthError: the truth is about another video, or says nothing about any signal there is.
    """
    view = View(dataset, video_id)
    truth.check(*view.size, int(view.video["frame_count"]))
    raw_view = RawView.of(view)
    measures: list[Measure] = []
    unscored: dict[str, str] = {}
    raw: dict[str, Belief] = {}
    for name, score in SCORERS.items():
        try:
            found = score(view, truth)
        except NotScoredError as reason:
            unscored[name] = str(reason)
            continue
        measures += found
        if raw_view is not None and any(m.belief is not None for m in found):
            raw |= {m.signal: m.belief for m in score(raw_view, truth) if m.belief is not None}
    if not measures:
        why = "; ".join(f"{name}: {reason}" for name, reason in unscored.items())
        raise TruthError(f"{truth.path} scores no signal of this video ({why})")
    weights_RB = block_draws(view.blocks.count)
    return Scorecard(
        video_id,
        dataset.manifest.videos[video_id],
        str(view.video["uri"]),
        truth.kind,
        str(truth.path),
        int(view.video["frame_count"]),
        view.video["duration_s"],
        view.blocks.count,
        tuple(_row(measure, view.blocks.count, weights_RB) for measure in measures),
        unscored,
        tuple(_curve(m, view) for m in measures if m.series is not None),
        tuple(
            _trust(m.signal, m.belief, raw.get(m.signal))
            for m in measures
            if m.belief is not None and len(m.belief.correct_N)
        ),
        truth.read_as,
    )


def block_draws(count: int) -> F64:
    """R x B: how often each of `count` blocks is drawn in each resample."""
    random = np.random.default_rng([SEED, count])
    return random.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)


def _row(measure: Measure, blocks: int, weights_RB: F64) -> Row:
    once = np.ones(blocks)
    value = measure.figure(once)
    blocks = blocks if measure.n > 1 else 0  # one sample has no spread
    draws = _draws(measure.figure, blocks, weights_RB)
    baseline, gain, gain_interval = None, None, None
    if measure.baseline is not None:
        sign = 1.0 if measure.better == "higher" else -1.0
        baseline = measure.baseline(once)
        gain = sign * (value - baseline)
        below = _draws(measure.baseline, blocks, weights_RB)
        gain_interval = interval(sign * (draws - below)) if len(draws) else None
    return Row(
        measure.signal,
        measure.metric,
        plain(value),
        measure.unit,
        measure.better,
        measure.n,
        measure.counted,
        interval(draws),
        plain(baseline),
        measure.baseline_name,
        plain(gain),
        gain_interval,
        measure.note,
        tuple(plain(draw) for draw in draws),
    )


def _draws(figure: Figure, blocks: int, weights_RB: F64) -> F64:
    if blocks < LEAST_BLOCKS:
        return np.zeros(0)
    return np.array([figure(weights_B) for weights_B in weights_RB])


def interval(draws_R: F64) -> tuple[float, float] | None:
    """The middle 95 %; None without replicates or where most of them say nothing."""
    known = draws_R[np.isfinite(draws_R)]
    if len(known) < max(1, len(draws_R) // 2):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def plain(value: float | None) -> float | None:
    """To six digits; None for NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _curve(measure: Measure, view: View) -> Curve:
    assert measure.series is not None
    frames = tuple(int(i) for i in measure.series.frames_N)
    return Curve(
        measure.signal,
        measure.metric,
        measure.series.unit,
        frames,
        tuple(view.times.get(i) for i in frames),
        tuple(float(f"{e:.6g}") for e in measure.series.error_N),
    )


def _trust(signal: str, belief: Belief, raw: Belief | None) -> Trust:
    before = None
    if raw is not None and len(raw.correct_N) == len(belief.correct_N):
        before = plain(reliability(raw.confidence_N, raw.correct_N).ece)
    return Trust(signal, belief.right, reliability(belief.confidence_N, belief.correct_N), before)
