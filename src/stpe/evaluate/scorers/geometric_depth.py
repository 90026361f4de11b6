"""Triangulated depth: AbsRel and the share within a factor 1.25 of the cells that are known.

Where the state log gave the scale, and the truth knows the log's unit, nothing is fitted. Else one
scale is fitted a trajectory, since triangulation leaves just that open.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.dense import scale_and_shift
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.scorers.depth import at_cells, within
from stpe.evaluate.truth import Truth
from stpe.evaluate.units import units_per_metre
from stpe.evaluate.view import View

F64 = NDArray[np.float64]

_DEPTH = "geometric_depth"
_COLUMNS = (
    *("frame_index", _DEPTH, f"{_DEPTH}_shape", f"{_DEPTH}_confidence"),
    *("geometric_scale", "geometric_unit", "trajectory_id"),
)
_SAMPLES = 200  # of confidence a frame: neighbouring cells say the same


@dataclass(frozen=True)
class _Map:
    frame: int
    trajectory: int
    predicted_N: F64
    true_N: F64
    confidence_N: F64
    scaled: bool
    cells: int


def score(view: View, truth: Truth) -> list[Measure]:
    """Every frame with a map and true depth."""
    if truth.depth is None:
        raise NotScoredError("the truth has no depth")
    for column in (_DEPTH, f"{_DEPTH}_shape", "trajectory_id"):
        view.need("frames", column)
    maps = _maps(view, truth)
    if not sum(len(m.true_N) for m in maps):
        raise NotScoredError("no cell of the dataset's triangulated depth has true depth")
    factors = _factors(maps)
    frames = np.array([m.frame for m in maps], np.int64)
    sums, trust, right = [], [], []
    random = np.random.default_rng(0)
    for m in maps:
        predicted = m.predicted_N * factors[m.trajectory]
        near = within(m.true_N, predicted)
        error = np.abs(predicted - m.true_N) / m.true_N
        if not len(m.true_N):
            sums.append([0.0, 0.0, 0.0, m.cells, 0.0, 0.0])
            continue
        wall = scale_and_shift(m.true_N, np.zeros_like(m.true_N))
        wall_error, wall_near = np.abs(wall - m.true_N) / m.true_N, within(m.true_N, wall)
        of_wall = wall_error.sum(), wall_near.sum()
        sums.append([error.sum(), near.sum(), len(m.true_N), m.cells, *of_wall])
        chosen = random.permutation(len(near))[:_SAMPLES]
        trust.append(m.confidence_N[chosen])
        right.append(near[chosen])
    parts = np.array(sums, np.float64)
    fitted = any(not m.scaled for m in maps)
    note = "one scale fitted a trajectory" if fitted else "scale from the state log, nothing fitted"
    n, blocks = int(parts[:, 2].sum()), view.blocks
    wall_name = "a flat wall fitted to the truth of the same cells"
    belief = Belief(np.concatenate(trust), np.concatenate(right).astype(np.float64),
                    "within a factor 1.25")  # fmt: skip
    series = Series(frames, parts[:, 0] / np.maximum(parts[:, 2], 1), "AbsRel")
    return [
        Measure(f"frames.{_DEPTH}", "AbsRel", "1", "lower", n, "samples",
                blocks.ratio(frames, parts[:, 0], parts[:, 2]),
                baseline=blocks.ratio(frames, parts[:, 4], parts[:, 2]), baseline_name=wall_name,
                note=note, series=series, belief=belief),
        Measure(f"frames.{_DEPTH}", "delta < 1.25", "1", "higher", n, "samples",
                blocks.ratio(frames, parts[:, 1], parts[:, 2]),
                baseline=blocks.ratio(frames, parts[:, 5], parts[:, 2]), baseline_name=wall_name,
                note=note),
        Measure(f"frames.{_DEPTH}", "share known", "1", "higher", int(parts[:, 3].sum()), "cells",
                blocks.ratio(frames, parts[:, 2], parts[:, 3]),
                note="of the cells whose true depth is known"),
    ]  # fmt: skip


def _maps(view: View, truth: Truth) -> list[_Map]:
    found = []
    assert truth.depth is not None
    for row in view.stream("frames", _COLUMNS):
        there = truth.depth(row["frame_index"])
        if there is None or row[_DEPTH] is None:
            continue
        true, askable = at_cells(there, row[f"{_DEPTH}_shape"])
        predicted = np.array(row[_DEPTH], np.float64)
        trust = row[f"{_DEPTH}_confidence"]
        confidence = np.ones(len(true)) if trust is None else np.array(trust, np.float64)
        known = askable & np.isfinite(predicted)
        per_metre = units_per_metre(row["geometric_unit"], truth)
        scale = row["geometric_scale"]
        scaled = truth.metric and scale is not None and per_metre is not None
        if scale is not None and per_metre is not None:
            predicted = predicted * scale / per_metre
        found.append(
            _Map(
                row["frame_index"],
                row["trajectory_id"] or 0,
                predicted[known],
                true[known],
                np.clip(confidence[known], 0, 1),
                scaled,
                int(askable.sum()),
            )
        )
    return found


def _factors(maps: list[_Map]) -> dict[int, float]:
    """What each trajectory's depths are multiplied by: the median ratio, or 1 where scaled."""
    groups: dict[int, list[_Map]] = defaultdict(list)
    for m in maps:
        groups[m.trajectory].append(m)
    found = {}
    for trajectory, members in groups.items():
        ratios = [m.true_N / np.maximum(m.predicted_N, 1e-9) for m in members if not m.scaled]
        every = np.concatenate(ratios) if ratios else np.zeros(0)
        found[trajectory] = float(np.median(every)) if len(every) else 1.0
    return found
