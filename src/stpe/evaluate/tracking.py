"""Multi-object tracking metrics: HOTA, CLEAR MOT and Identity.

Sources: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV
2021; Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", 2008; Ristani et al., "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016. Matching follows TrackEval, with which the numbers agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.overlap import best_pairs

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
ALPHAS: F64 = np.arange(0.05, 0.99, 0.05)
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class FramePair:
    """Truth and prediction in one frame.

    Attributes:
        truth_ids_N, predicted_ids_M: int64 identities, unique within the frame.
        similarity_NM: float64 in 0..1, usually IoU of boxes or masks.
    """

    truth_ids_N: I64
    predicted_ids_M: I64
    similarity_NM: F64


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """All in 0..1 except the counts; MOTA can be negative.

    `hota`, `deta`, `assa`, `loca` are means over the 19 localisation thresholds; the rest use an
    overlap of 0.5.
    """

    hota: float
    deta: float
    assa: float
    loca: float
    mota: float
    motp: float
    idf1: float
    id_switches: int
    false_positives: int
    misses: int
    truths: int


def score_tracking(frames: Sequence[FramePair]) -> TrackingScore:
    """Score one sequence, frames in time order."""
    frames = _dense_ids(frames)
    hota, deta, assa, loca = _hota(frames)
    mota, motp, switches, false_positives, misses, truths = _clear(frames)
    return TrackingScore(
        hota, deta, assa, loca, mota, motp, _idf1(frames), switches, false_positives, misses, truths
    )


def _dense_ids(frames: Sequence[FramePair]) -> list[FramePair]:
    def lookup(parts: list[I64]) -> I64:
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    truths = lookup([f.truth_ids_N for f in frames])
    predictions = lookup([f.predicted_ids_M for f in frames])
    return [
        FramePair(
            np.searchsorted(truths, f.truth_ids_N),
            np.searchsorted(predictions, f.predicted_ids_M),
            np.asarray(f.similarity_NM, np.float64),
        )
        for f in frames
    ]


def _sizes(frames: Sequence[FramePair]) -> tuple[F64, F64]:
    """Frames in which each identity occurs, truth and prediction."""
    truths = np.concatenate([f.truth_ids_N for f in frames] or [np.zeros(0, np.int64)])
    predictions = np.concatenate([f.predicted_ids_M for f in frames] or [np.zeros(0, np.int64)])
    return np.bincount(truths).astype(float), np.bincount(predictions).astype(float)


def _hota(frames: Sequence[FramePair]) -> tuple[float, float, float, float]:
    truth_frames, predicted_frames = _sizes(frames)
    alignment = np.zeros((len(truth_frames), len(predicted_frames)))
    for f in frames:
        s = f.similarity_NM
        total = s.sum(0)[None] + s.sum(1)[:, None] - s
        share = np.divide(s, total, out=np.zeros_like(s), where=total > _EPS)
        alignment[np.ix_(f.truth_ids_N, f.predicted_ids_M)] += share
    alignment /= np.maximum(truth_frames[:, None] + predicted_frames[None] - alignment, _EPS)

    matched_pairs = np.zeros((len(ALPHAS), *alignment.shape))
    true_positives = np.zeros(len(ALPHAS))
    overlap = np.zeros(len(ALPHAS))
    for f in frames:
        score = alignment[np.ix_(f.truth_ids_N, f.predicted_ids_M)] * f.similarity_NM
        rows, columns = best_pairs(score)
        similarity = f.similarity_NM[rows, columns]
        for a, alpha in enumerate(ALPHAS):
            ok = similarity >= alpha - _EPS
            true_positives[a] += ok.sum()
            overlap[a] += similarity[ok].sum()
            matched_pairs[a, f.truth_ids_N[rows[ok]], f.predicted_ids_M[columns[ok]]] += 1

    union = truth_frames.sum() + predicted_frames.sum() - true_positives
    deta = true_positives / np.maximum(union, 1)
    association = matched_pairs / np.maximum(
        truth_frames[None, :, None] + predicted_frames[None, None] - matched_pairs, 1
    )
    assa = (matched_pairs * association).sum((1, 2)) / np.maximum(true_positives, 1)
    loca = np.where(true_positives > 0, overlap / np.maximum(true_positives, 1), 1.0)
    hota = np.sqrt(deta * assa)
    return float(hota.mean()), float(deta.mean()), float(assa.mean()), float(loca.mean())


def _clear(frames: Sequence[FramePair]) -> tuple[float, float, int, int, int, int]:
    truth_frames, _ = _sizes(frames)
    last_match = np.full(len(truth_frames), -1)  # ever: what an identity switch is counted against
    current = np.full(len(truth_frames), -1)  # in the previous frame: what matching prefers
    hits = false_positives = misses = switches = 0
    overlap = 0.0
    for f in frames:
        n, m = f.similarity_NM.shape
        continuing = f.predicted_ids_M[None] == current[f.truth_ids_N][:, None]
        score = 1000.0 * continuing + f.similarity_NM
        score[f.similarity_NM < 0.5 - _EPS] = 0
        rows, columns = best_pairs(score)
        kept = score[rows, columns] > _EPS
        rows, columns = rows[kept], columns[kept]
        truths, predictions = f.truth_ids_N[rows], f.predicted_ids_M[columns]
        before = last_match[truths]
        switches += int(((before >= 0) & (before != predictions)).sum())
        last_match[truths] = predictions
        current[:] = -1
        current[truths] = predictions
        hits += len(rows)
        misses += n - len(rows)
        false_positives += m - len(rows)
        overlap += float(f.similarity_NM[rows, columns].sum())
    truths_total = int(truth_frames.sum())
    mota = (hits - false_positives - switches) / max(truths_total, 1)
    return mota, overlap / max(hits, 1), switches, false_positives, misses, truths_total


def _idf1(frames: Sequence[FramePair]) -> float:
    truth_frames, predicted_frames = _sizes(frames)
    n, m = len(truth_frames), len(predicted_frames)
    shared = np.zeros((n, m))
    for f in frames:
        rows, columns = np.nonzero(f.similarity_NM >= 0.5)
        shared[f.truth_ids_N[rows], f.predicted_ids_M[columns]] += 1
    # An identity left unmatched costs all its frames, as a miss or as a false positive.
    misses = np.full((n + m, n + m), 1e10)
    misses[:n, :m] = truth_frames[:, None] + predicted_frames[None] - 2 * shared
    misses[np.arange(n), m + np.arange(n)] = truth_frames
    misses[n + np.arange(m), np.arange(m)] = predicted_frames
    misses[n:, m:] = 0
    rows, columns = best_pairs(-misses)
    wrong = misses[rows, columns].sum()
    total = truth_frames.sum() + predicted_frames.sum()
    return float(1.0 - wrong / total) if total else 0.0
