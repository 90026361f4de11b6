"""Optical flow: end-point error and outliers at the stored samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View
from stpe.geometry.field import flow_field

F64 = NDArray[np.float64]
_COLUMNS = ("frame_index", "previous_frame_index", "flow", "flow_shape", "flow_confidence")
#: Samples of confidence kept a frame: neighbouring samples say the same.
_SAMPLES = 200


def score(view: View, truth: Truth) -> list[Measure]:
    """Flow of every interval that has truth, wherever the truth is known."""
    if truth.flow is None:
        raise NotScoredError("the truth has no flow")
    view.need("motion", "flow")
    view.need("motion", "previous_frame_index")
    frames, sums, trust, right = [], [], [], []
    random = np.random.default_rng(0)
    for row in view.stream("motion", _COLUMNS):
        if row["flow"] is None or row["previous_frame_index"] is None:
            continue
        confidence = row["flow_confidence"] or [1.0] * (len(row["flow"]) // 2)
        field = flow_field(row["flow"], confidence, row["flow_shape"], view.size)
        found = truth.flow(row["previous_frame_index"], row["frame_index"], field.points_N2)
        if found is None:
            continue
        true, known = found[0][found[1]].astype(np.float64), found[1]
        if not known.any():
            continue
        error = np.linalg.norm(field.flow_N2[known] - true, axis=1)
        length = np.linalg.norm(true, axis=1)
        wrong = (error > 3) & (error > 0.05 * length)
        frames.append(row["frame_index"])
        sums.append([error.sum(), wrong.sum(), length.sum(), (length > 3).sum(), len(error)])
        if row["flow_confidence"] is not None:
            chosen = random.permutation(len(error))[:_SAMPLES]
            trust.append(field.weight_N[known][chosen])
            right.append(~wrong[chosen])
    if not frames:
        raise NotScoredError("no interval of the dataset has true flow")
    index, parts = np.array(frames, np.int64), np.array(sums, np.float64)
    n, blocks = int(parts[:, 4].sum()), view.blocks
    belief = None
    if trust:
        belief = Belief(
            np.clip(np.concatenate(trust), 0, 1),
            np.concatenate(right).astype(np.float64),
            "error at most 3 px or 5 %",
        )
    note = "where the world stands still and stays in view" if truth.kind == "simulator" else ""
    return [
        Measure(
            "motion.flow",
            "EPE",
            "px",
            "lower",
            n,
            "samples",
            blocks.ratio(index, parts[:, 0], parts[:, 4]),
            baseline=blocks.ratio(index, parts[:, 2], parts[:, 4]),
            baseline_name="no motion",
            note=note,
            series=Series(index, parts[:, 0] / parts[:, 4], "px"),
            belief=belief,
        ),
        Measure(
            "motion.flow",
            "Fl outliers",
            "1",
            "lower",
            n,
            "samples",
            blocks.ratio(index, parts[:, 1], parts[:, 4]),
            baseline=blocks.ratio(index, parts[:, 3], parts[:, 4]),
            baseline_name="no motion",
            note="error above 3 px and 5 %",
        ),
    ]
