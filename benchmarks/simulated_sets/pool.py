"""Metrics of many episodes as one: the mean over episodes with a bootstrap interval over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulated_sets.episodes import Scores
from simulated_sets.tracks import METRICS
from stpe.evaluate.scorers.motion import confusion, macro_f1, moving_f1

DRAWS, SEED = 2000, 0


@dataclass(frozen=True)
class Pooled:
    """One metric over a simulator's episodes. `gain` is positive where ours is better."""

    signal: str
    metric: str
    unit: str
    better: str
    episodes: int
    n: int
    value: float
    interval: tuple[float, float]
    baseline_name: str = ""
    baseline: float | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None


def pooled(found: Sequence[Scores]) -> list[Pooled]:
    """Every metric, then moving/static and tracks against baselines chosen over all episodes."""
    groups = defaultdict(list)
    for scores in found:
        for figure in scores.figures:
            if np.isfinite(figure.value):
                groups[figure.signal, figure.metric].append(figure)
    rows = []
    for (signal, metric), figures in groups.items():
        # The scorer's own threshold is chosen anew on every episode's truth; ours once for all.
        own = signal == "objects.motion"
        first = figures[0]
        known = not own and all(f.baseline is not None for f in figures)
        values = np.array([f.value for f in figures])
        below = np.array([f.baseline for f in figures], np.float64) if known else None
        name = first.baseline_name if known else ""
        n = sum(f.n for f in figures)
        rows.append(_row(signal, metric, first.unit, first.better, n, values, name, below))
    return [*rows, *_moving(found), *_tracks(found)]


def _row(
    signal: str, metric: str, unit: str, better: str, n: int, values: np.ndarray,
    name: str = "", below: np.ndarray | None = None,
) -> Pooled:  # fmt: skip
    random = np.random.default_rng(SEED)
    draws = random.integers(0, len(values), (DRAWS, len(values)))
    gain = None if below is None else (values - below) * (1 if better == "higher" else -1)
    return Pooled(
        signal,
        metric,
        unit,
        better,
        len(values),
        n,
        float(values.mean()),
        _middle(values[draws].mean(axis=1)),
        name,
        None if below is None else float(below.mean()),
        None if gain is None else float(gain.mean()),
        None if gain is None else _middle(gain[draws].mean(axis=1)),
    )


def _middle(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _moving(found: Sequence[Scores]) -> list[Pooled]:
    """All objects of all episodes together, episodes drawn; one threshold for a simulator."""
    tables = [s.moving for s in found if len(s.moving)]
    if not tables:
        return []
    every = np.concatenate(tables)
    moves, speed = every[:, 0] > 0, every[:, 2]
    tried = np.unique(np.quantile(speed, np.linspace(0, 1, 80)))
    rows = []
    forms: list[tuple[str, Callable[[np.ndarray], float]]] = [
        ("macro F1, pooled", macro_f1),
        ("F1 of moving, pooled", moving_f1),
    ]
    for metric, form in forms:
        at = max(tried, key=lambda t: form(confusion(moves, speed > t).sum(axis=0)))
        ours = np.array([confusion(t[:, 0] > 0, t[:, 1] > 0).sum(axis=0) for t in tables])
        theirs = np.array([confusion(t[:, 0] > 0, t[:, 2] > at).sum(axis=0) for t in tables])
        random = np.random.default_rng(SEED)
        draws = random.integers(0, len(tables), (DRAWS, len(tables)))
        a = np.array([form(ours[d].sum(axis=0)) for d in draws])
        b = np.array([form(theirs[d].sum(axis=0)) for d in draws])
        value, below = form(ours.sum(axis=0)), form(theirs.sum(axis=0))
        rows.append(
            Pooled(
                "objects.motion",
                metric,
                "1",
                "higher",
                len(tables),
                len(every),
                value,
                _middle(a),
                f"uncompensated flow above {at:.0f} px/s, the best threshold",
                below,
                value - below,
                _middle(a - b),
            )
        )
    return rows


def _tracks(found: Sequence[Scores]) -> list[Pooled]:
    """Against the library's settings that are best over all episodes, chosen by this truth."""
    tracks = [s.tracks for s in found if s.tracks is not None]
    if not tracks:
        return []
    rows = []
    for metric in METRICS:
        mean = {n: np.mean([t.library[n][metric] for t in tracks]) for n in tracks[0].library}
        best = max(mean, key=lambda n: mean[n])
        ours = np.array([t.ours[metric] for t in tracks])
        theirs = np.array([t.library[best][metric] for t in tracks])
        rows.append(
            _row(
                "objects.track_id",
                f"{metric}, same detections",
                "1",
                "higher",
                len(tracks),
                ours,
                best,
                theirs,
            )
        )
    return rows
