"""Depth maps: AbsRel and the share within a factor 1.25.

A relative map is first given the scale and shift that fit the truth of its frame best, as is usual
for such models: the figures then tell shape from shape, not metres from metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.dense import scale_and_shift
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View
from stpe.signals import SIGNALS

F64 = NDArray[np.float64]
_LEAST = 20  # samples a frame


def score(view: View, truth: Truth) -> list[Measure]:
    """Both kinds of depth map, whichever the dataset has."""
    if truth.depth is None:
        raise NotScoredError("the truth has no depth")
    measures = []
    kinds = (("depth", "depth_unit"), ("geometric_depth", "geometric_unit"))
    have = [
        (name, unit)
        for name, unit in kinds
        if all(_has(view, column) for column in (name, f"{name}_shape", unit))
    ]
    if not have:
        raise NotScoredError("the dataset has no frames.depth with its shape and unit")
    for name, unit in have:
        measures += _measures(view, truth, name, unit)
    if not measures:
        raise NotScoredError("no frame of the dataset has true depth")
    return measures


def _has(view: View, column: str) -> bool:
    return any(s.name == f"frames.{column}" for s in SIGNALS) and view.known("frames", column)


def _measures(view: View, truth: Truth, name: str, unit: str) -> list[Measure]:
    assert truth.depth is not None
    columns: tuple[str, ...] = ("frame_index", name, f"{name}_shape", unit, f"{name}_confidence")
    if name == "geometric_depth":
        columns = (*columns, "geometric_scale")
    frames, sums, beliefs = [], [], []
    aligned = False
    for row in view.rows("frames", columns):
        found = _pair(view, truth, row, name)
        if found is None:
            continue
        true, predicted = found
        if row[unit] != "metres" or not truth.metric:
            aligned = True
            predicted = scale_and_shift(true, predicted)
        error, near = np.abs(predicted - true) / true, _within(true, predicted)
        flat = scale_and_shift(true, np.zeros_like(true))
        frames.append(row["frame_index"])
        flat_error, flat_near = np.abs(flat - true) / true, _within(true, flat)
        sums.append([error.sum(), near.sum(), flat_error.sum(), flat_near.sum(), len(true)])
        trust = row[f"{name}_confidence"]
        if isinstance(trust, (int, float)):
            beliefs.append((float(trust), float(near.mean())))
    if not frames:
        return []
    index, parts = np.array(frames, np.int64), np.array(sums, np.float64)
    how = "scale and shift fitted a frame" if aligned else "in metres, nothing fitted"

    def figure(column: int) -> Callable[[F64], float]:
        return view.blocks.ratio(index, parts[:, column], parts[:, 4])

    belief = None
    if beliefs:
        confidence, right = np.array(beliefs).T
        belief = Belief(confidence, right, "share within a factor 1.25")
    error_measure = Measure(
        f"frames.{name}",
        "AbsRel",
        "1",
        "lower",
        int(parts[:, 4].sum()),
        "samples",
        figure(0),
        baseline=figure(2),
        baseline_name="a flat wall fitted to the truth",
        note=how,
        series=Series(index, parts[:, 0] / parts[:, 4], "AbsRel"),
        belief=belief,
    )
    near_measure = replace(
        error_measure,
        metric="delta < 1.25",
        better="higher",
        figure=figure(1),
        baseline=figure(3),
        series=None,
        belief=None,
    )
    return [error_measure, near_measure]


def _pair(view: View, truth: Truth, row: dict[str, Any], name: str) -> tuple[F64, F64] | None:
    """True and predicted depth at the cell centres where both are known."""
    if row[name] is None or row[f"{name}_shape"] is None:
        return None
    assert truth.depth is not None
    found = truth.depth(row["frame_index"])
    if found is None:
        return None
    predicted = np.array(row[name], np.float64).reshape(row[f"{name}_shape"])
    line, column = cells(predicted.shape, found[0].shape)
    true, known = found[0][line, column].astype(np.float64), found[1][line, column]
    ok = known & (true > 0) & np.isfinite(predicted)
    if row.get("geometric_scale") is not None:
        predicted = predicted * row["geometric_scale"]
    return (true[ok], predicted[ok]) if ok.sum() >= _LEAST else None


def cells(shape: Sequence[int], of: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(line, column) of the pixel of a picture of shape `of` at each cell's centre."""
    line = ((np.arange(shape[0]) + 0.5) * of[0] / shape[0]).astype(np.int64)
    column = ((np.arange(shape[1]) + 0.5) * of[1] / shape[1]).astype(np.int64)
    lines, columns = np.meshgrid(line, column, indexing="ij")
    return lines, columns


def _within(true: F64, predicted: F64) -> NDArray[np.bool_]:
    ratio = np.maximum(predicted, 1e-9) / true
    return np.asarray(np.maximum(ratio, 1 / ratio) < 1.25)
