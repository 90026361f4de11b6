"""Windows of one second behind and one second ahead, and the numbers in them.

Shape legend: W windows, K frames of history, D features, P parts of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.train.episodes import Episode

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: What is predicted one second ahead, in this order, where the log has it.
PARTS = ("forward", "left", "up", "turn", "speed")
#: A second may be this much longer or shorter, where frames were lost.
_TOLERANCE = 0.2
#: A group of more numbers is reduced to so many principal components of the training frames.
COMPONENTS = 12


@dataclass(frozen=True)
class Windows:
    """Windows of all episodes.

    Attributes:
        episode_W: number of the episode. at_WK: frames of the last second, the present one last.
        target_WP, persistence_WP: what the next second brings, and what it would if velocities
            stayed as they are. Displacements are along the figure's heading now where it has one,
            else along the world's axes; angles are degrees.
        parts: names of P.
    """

    episode_W: NDArray[np.int64]
    at_WK: NDArray[np.int64]
    target_WP: F64
    persistence_WP: F64
    parts: tuple[str, ...]


def windows(episodes: Sequence[Episode]) -> Windows:
    """Every window whose second behind and second ahead lie in one round of one episode."""
    which, at, targets, persistence = [], [], list[F64](), list[F64]()
    # One number of frames a second for all, so that windows have one shape.
    steps = [float(np.median(np.diff(e.times_N))) for e in episodes if len(e.times_N) > 1]
    ahead = max(round(1 / float(np.median(steps))), 1) if steps else 1
    for number, episode in enumerate(episodes):
        for i in range(ahead, len(episode.times_N) - ahead):
            first, last = i - ahead, i + ahead
            spans = np.diff(episode.times_N[[first, i, last]])
            if (np.abs(spans - 1) > _TOLERANCE).any():
                continue
            if len(set(episode.round_N[first : last + 1])) > 1:
                continue
            which.append(number)
            at.append(np.arange(first + 1, i + 1))
            targets.append(_change(episode, i, last, spans[1]))
            before = _change(episode, i - 1, i, episode.times_N[i] - episode.times_N[i - 1], i)
            persistence.append(np.array([*before[:4], 0.0]))
    target = np.array(targets).reshape(-1, len(PARTS))
    known = np.nan_to_num(target)
    moves = known.std(0) > 1e-9 if len(known) else np.zeros(len(PARTS), np.bool_)
    kept = np.isfinite(target).any(0) & moves
    whole = np.isfinite(target[:, kept]).all(1)
    return Windows(
        np.array(which, np.int64)[whole],
        np.array(at, np.int64).reshape(-1, ahead)[whole],
        target[whole][:, kept],
        np.nan_to_num(np.array(persistence).reshape(-1, len(PARTS))[whole][:, kept]),
        tuple(name for name, keep in zip(PARTS, kept, strict=True) if keep),
    )


def _change(episode: Episode, a: int, b: int, seconds: float, seen_from: int | None = None) -> F64:
    """PARTS from frame a to frame b, a second's worth, along the heading at `seen_from`."""
    move = episode.position_N3[b] - episode.position_N3[a]
    heading = episode.heading_N[a if seen_from is None else seen_from]
    ego = _turned(move, heading)
    turn = episode.heading_N[b] - episode.heading_N[a]
    faster = episode.speed_N[b] - episode.speed_N[a]
    return np.array([*ego / seconds, turn / seconds, faster / seconds])


def _turned(move_3: F64, heading_deg: float) -> F64:
    """Forward, left, up."""
    angle = np.radians(heading_deg) if np.isfinite(heading_deg) else 0.0
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = move_3
    return np.array([c * x + s * y, c * y - s * x, z])


def state_features(episode: Episode, keys: Sequence[str], counters: Sequence[str]) -> F32:
    """The log's own numbers a frame, NxD: velocity along the heading, turn rate, speed, keys."""
    count = len(episode.times_N)
    found = np.full((count, 6), np.nan)
    for i in range(1, count):
        seconds = episode.times_N[i] - episode.times_N[i - 1]
        found[i, :4] = _change(episode, i - 1, i, seconds, i)[:4]
    found[:, 4], found[:, 5] = episode.speed_N, episode.vertical_N
    held = [[float(key in now) for key in keys] for now in episode.held_N]
    told = [[now.get(name, np.nan) for name in counters] for now in episode.counters_N]
    parts = [found, np.array(held).reshape(count, -1), np.array(told).reshape(count, -1)]
    return np.concatenate(parts, 1).astype(np.float32)


def features(
    frames: Sequence[F32], windows: Windows, training_W: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """One group's numbers of each window, WxF, scaled by what training windows hold.

    They are the present value, the mean over the last second, its change, and the share that was
    measured. `frames` has NxD of each episode.
    """
    history_WKD = np.stack(
        [frames[e][at] for e, at in zip(windows.episode_W, windows.at_WK, strict=True)]
    ).astype(np.float64)
    known_WKD = np.isfinite(history_WKD)
    if history_WKD.shape[2] > COMPONENTS:
        training = np.unique(windows.episode_W[training_W])
        history_WKD = _reduced(history_WKD, np.concatenate([frames[e] for e in training]))
        known_WKD = np.broadcast_to(known_WKD.any(2, keepdims=True), history_WKD.shape)
    values = np.where(known_WKD, history_WKD, np.nan)
    first, last = values[:, 0], values[:, -1]
    share = known_WKD.mean((1, 2))[:, None]
    found = np.concatenate([last, _mean(values, 1), last - first, share], 1)
    centre = _mean(found[training_W], 0)
    spread = np.sqrt(_mean((found[training_W] - centre) ** 2, 0))
    scaled = (found - centre) / np.where(spread > 1e-9, spread, 1.0)
    return np.clip(np.nan_to_num(scaled), -5, 5).astype(np.float32)


def _mean(values: F64, axis: int) -> F64:
    """Of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _reduced(history_WKD: F64, training_ND: F32) -> F64:
    """The first COMPONENTS principal components of the training frames."""
    centre = np.nan_to_num(_mean(training_ND.astype(np.float64), 0))
    _, _, axes = np.linalg.svd(np.nan_to_num(training_ND - centre), full_matrices=False)
    return np.asarray(np.nan_to_num(history_WKD - centre) @ axes[:COMPONENTS].T)
