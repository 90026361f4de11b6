"""Depth maps: AbsRel and the share within a factor 1.25.

A relative map is first given the scale and shift that fit the truth of its frame best, as is usual
for such models: the figures then tell shape from shape, not metres from metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.dense import scale_and_shift
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.truth import MaskHW, Truth
from stpe.evaluate.view import View

F64 = NDArray[np.float64]
_LEAST = 20  # samples a frame
_COLUMNS = ("frame_index", "depth", "depth_shape", "depth_unit", "depth_confidence")


def score(view: View, truth: Truth) -> list[Measure]:
    """The map of each analysis frame, at the centres of its cells."""
    if truth.depth is None:
        raise NotScoredError("the truth has no depth")
    for column in ("depth", "depth_shape", "depth_unit"):
        view.need("frames", column)
    frames, sums, beliefs = [], [], []
    aligned = False
    for row in view.stream("frames", _COLUMNS):
        found = truth.depth(row["frame_index"])
        if found is None or row["depth"] is None:
            continue
        true, known = at_cells(found, row["depth_shape"])
        predicted = np.array(row["depth"], np.float64)
        known &= np.isfinite(predicted)
        if known.sum() < _LEAST:
            continue
        true, predicted = true[known], predicted[known]
        if row["depth_unit"] != "metres" or not truth.metric:
            aligned = True
            predicted = scale_and_shift(true, predicted)
        error, near = np.abs(predicted - true) / true, within(true, predicted)
        flat = scale_and_shift(true, np.zeros_like(true))
        frames.append(row["frame_index"])
        flat_error, flat_near = np.abs(flat - true) / true, within(true, flat)
        sums.append([error.sum(), near.sum(), flat_error.sum(), flat_near.sum(), len(true)])
        if row["depth_confidence"] is not None:
            beliefs.append((row["depth_confidence"], float(near.mean())))
    if not frames:
        raise NotScoredError("no frame of the dataset has true depth")
    index, parts = np.array(frames, np.int64), np.array(sums, np.float64)
    how = "scale and shift fitted a frame" if aligned else "in metres, nothing fitted"

    def figure(column: int) -> Callable[[F64], float]:
        return view.blocks.ratio(index, parts[:, column], parts[:, 4])

    belief = None
    if beliefs:
        confidence, right = np.array(beliefs).T
        belief = Belief(confidence, right, "share within a factor 1.25")
    error_measure = Measure(
        "frames.depth",
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


def at_cells(
    truth: tuple[NDArray[np.float32], MaskHW], shape: Sequence[int]
) -> tuple[F64, NDArray[np.bool_]]:
    """(true depth, whether it is known) at the cell centres of a stored map, row by row."""
    depth_HW, known_HW = truth
    height, width = depth_HW.shape
    line = ((np.arange(shape[0]) + 0.5) * height / shape[0]).astype(np.int64)
    column = ((np.arange(shape[1]) + 0.5) * width / shape[1]).astype(np.int64)
    true = depth_HW[np.ix_(line, column)].astype(np.float64).ravel()
    return true, known_HW[np.ix_(line, column)].ravel() & (true > 0)


def within(true_N: F64, predicted_N: F64) -> NDArray[np.bool_]:
    """Whether each is within a factor 1.25 of the truth."""
    ratio = np.maximum(predicted_N, 1e-9) / true_N
    return np.asarray(np.maximum(ratio, 1 / ratio) < 1.25)
