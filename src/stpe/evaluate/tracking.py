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


@dataclass(frozen=True, slots=True)
class TrackingParts:
    """What each frame adds to the score, identities matched over the whole sequence.

    Attributes:
        found_FA, association_FA, overlap_FA: at each localisation threshold, true positives, the
            sum of their association scores A(c), and of their overlaps.
        hits_F, misses_F, false_F, switches_F, hit_overlap_F: of CLEAR MOT.
        same_F: identity true positives. truths_F, predictions_F: detections.
    """

    found_FA: F64
    association_FA: F64
    overlap_FA: F64
    hits_F: F64
    misses_F: F64
    false_F: F64
    switches_F: F64
    hit_overlap_F: F64
    same_F: F64
    truths_F: F64
    predictions_F: F64

    def table(self) -> F64:
        """All of it, F x K, in this order; sums of rows are what `score_sums` takes."""
        columns = (np.reshape(v, (len(self.hits_F), -1)) for v in self._values())
        return np.concatenate(list(columns), axis=1)

    def _values(self) -> tuple[F64, ...]:
        return (
            *(self.found_FA, self.association_FA, self.overlap_FA, self.hits_F, self.misses_F),
            *(self.false_F, self.switches_F, self.hit_overlap_F, self.same_F, self.truths_F),
            self.predictions_F,
        )


def tracking_parts(frames: Sequence[FramePair]) -> TrackingParts:
    """The parts of one sequence, frames in time order."""
    frames = _dense_ids(frames)
    return TrackingParts(
        *_hota(frames),
        *_clear(frames),
        _identity(frames),
        np.array([f.similarity_NM.shape[0] for f in frames], np.float64),
        np.array([f.similarity_NM.shape[1] for f in frames], np.float64),
    )


def score_tracking(frames: Sequence[FramePair]) -> TrackingScore:
    """Score one sequence, frames in time order."""
    return score_sums(tracking_parts(frames).table().sum(axis=0))


def score_sums(sums_K: F64) -> TrackingScore:
    """The score from summed rows of `TrackingParts.table`."""
    n = len(ALPHAS)
    found, associated, overlap = sums_K[:n], sums_K[n : 2 * n], sums_K[2 * n : 3 * n]
    hits, misses, false, switches, hit_overlap, same, truths, predictions = sums_K[3 * n :]
    deta = found / np.maximum(truths + predictions - found, 1)
    assa = associated / np.maximum(found, 1)
    loca = np.where(found > 0, overlap / np.maximum(found, 1), 1.0)
    total = truths + predictions
    return TrackingScore(
        hota=float(np.sqrt(deta * assa).mean()),
        deta=float(deta.mean()),
        assa=float(assa.mean()),
        loca=float(loca.mean()),
        mota=float((hits - false - switches) / max(truths, 1)),
        motp=float(hit_overlap / max(hits, 1)),
        idf1=float(2 * same / total) if total else 0.0,
        id_switches=int(switches),
        false_positives=int(false),
        misses=int(misses),
        truths=int(truths),
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


def _hota(frames: Sequence[FramePair]) -> tuple[F64, F64, F64]:
    truth_frames, predicted_frames = _sizes(frames)
    alignment = np.zeros((len(truth_frames), len(predicted_frames)))
    for f in frames:
        s = f.similarity_NM
        total = s.sum(0)[None] + s.sum(1)[:, None] - s
        share = np.divide(s, total, out=np.zeros_like(s), where=total > _EPS)
        alignment[np.ix_(f.truth_ids_N, f.predicted_ids_M)] += share
    alignment /= np.maximum(truth_frames[:, None] + predicted_frames[None] - alignment, _EPS)

    matched_pairs = np.zeros((len(ALPHAS), *alignment.shape))
    found, overlap = np.zeros((2, len(frames), len(ALPHAS)))
    matches = []
    for number, f in enumerate(frames):
        score = alignment[np.ix_(f.truth_ids_N, f.predicted_ids_M)] * f.similarity_NM
        rows, columns = best_pairs(score)
        similarity = f.similarity_NM[rows, columns]
        ok_AN = similarity[None] >= ALPHAS[:, None] - _EPS
        truths, predictions = f.truth_ids_N[rows], f.predicted_ids_M[columns]
        matches.append((truths, predictions, ok_AN))
        found[number] = ok_AN.sum(axis=1)
        overlap[number] = (ok_AN * similarity).sum(axis=1)
        for a, ok in enumerate(ok_AN):
            matched_pairs[a, truths[ok], predictions[ok]] += 1
    score_APP = matched_pairs / np.maximum(
        truth_frames[None, :, None] + predicted_frames[None, None] - matched_pairs, 1
    )
    associated = [(ok * score_APP[:, t, p]).sum(axis=1) for t, p, ok in matches]
    return found, np.array(associated).reshape(found.shape), overlap


def _clear(frames: Sequence[FramePair]) -> tuple[F64, F64, F64, F64, F64]:
    truth_frames, _ = _sizes(frames)
    last_match = np.full(len(truth_frames), -1)  # ever: what an identity switch is counted against
    current = np.full(len(truth_frames), -1)  # in the previous frame: what matching prefers
    hits, misses, false_positives, switches, overlap = np.zeros((5, len(frames)))
    for number, f in enumerate(frames):
        n, m = f.similarity_NM.shape
        continuing = f.predicted_ids_M[None] == current[f.truth_ids_N][:, None]
        score = 1000.0 * continuing + f.similarity_NM
        score[f.similarity_NM < 0.5 - _EPS] = 0
        rows, columns = best_pairs(score)
        kept = score[rows, columns] > _EPS
        rows, columns = rows[kept], columns[kept]
        truths, predictions = f.truth_ids_N[rows], f.predicted_ids_M[columns]
        before = last_match[truths]
        switches[number] = ((before >= 0) & (before != predictions)).sum()
        last_match[truths] = predictions
        current[:] = -1
        current[truths] = predictions
        hits[number] = len(rows)
        misses[number] = n - len(rows)
        false_positives[number] = m - len(rows)
        overlap[number] = f.similarity_NM[rows, columns].sum()
    return hits, misses, false_positives, switches, overlap


def _identity(frames: Sequence[FramePair]) -> F64:
    """Identity true positives of each frame."""
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
    partner = np.full(n, -1)
    real = (rows < n) & (columns < m)
    partner[rows[real]] = columns[real]
    return np.array(
        [
            float(
                (
                    (f.predicted_ids_M[None] == partner[f.truth_ids_N][:, None])
                    & (f.similarity_NM >= 0.5)
                ).sum()
            )
            for f in frames
        ]
    )
