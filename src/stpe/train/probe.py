"""A small dynamics probe: what the next second brings, from the last second, with and without
each group of signals.

The probe is a network of one hidden layer whose last layer begins at zero, so that it begins as
its baseline (velocities stay as they are; without the state, the mean) and learns only what helps:
it stops where videos set aside of the training half stop improving. A group of signals corrects
what the state alone has said; beside it the state corrects itself once more, so that a group gains
only by what it knows. Errors are of videos that
nothing was fitted on; intervals are over videos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.small_torch import alone, import_torch
from stpe.train.episodes import Episode
from stpe.train.gain import Gain, gain
from stpe.train.windows import Windows, features, state_features, windows

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LEAST_EPISODES = 4
_FOLDS = 5
_MEMBERS = 3
_HIDDEN = 32
_STEPS = 160
_LOOK = 8  # steps between looks at the videos set aside
_PATIENCE = 5
_DECAY = 0.03
_BETTER = 0.005  # by what share an error must fall to count as better


@dataclass(frozen=True)
class GroupGain:
    """What one group of signals is worth.

    Attributes:
        name, dimensions: the group and its numbers a frame.
        error: of state and group together, as `ProbeReport.error`.
        over_state: by how much it lowers the error of the state alone.
        alone: by how much the group without any state lowers the error of the mean.
        parts: over_state of each part of the state.
    """

    name: str
    dimensions: int
    error: float
    over_state: Gain
    alone: Gain
    parts: dict[str, float]


@dataclass(frozen=True)
class ProbeReport:
    """The probe's result.

    Attributes:
        episodes, windows, seed: what it was made from.
        parts: what is predicted; `scale` one standard deviation of each, in the log's unit.
        persistence, error: root mean square error, in standard deviations of the parts: of
            unchanged velocities, and of the probe from the state alone.
        over_persistence: by how much the state alone lowers persistence's error.
        groups: in the order of `stpe.train.groups.GROUPS`, then `all` together.
    """

    episodes: int
    windows: int
    seed: int
    parts: tuple[str, ...]
    scale: dict[str, float]
    persistence: float
    error: float
    over_persistence: Gain
    groups: tuple[GroupGain, ...]


def probe(
    episodes: Sequence[Episode], seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> ProbeReport:
    """Measure every group that all episodes have.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: too few episodes, or nothing in them that moves.
    """
    import_torch()
    cut = windows(episodes)
    if not any(np.isfinite(e.position_N3).any() or np.isfinite(e.speed_N).any() for e in episodes):
        raise UsageError(
            f"none of {len(episodes)} videos has a matched state with a position or speed: process "
            "them with --state LOG"
        )
    there = [i for i in range(len(episodes)) if (cut.episode_W == i).any()] if cut.parts else []
    if len(there) < LEAST_EPISODES:
        raise UsageError(
            f"{len(there)} of {len(episodes)} videos have two seconds of aligned state with a "
            f"position or speed that changes; the probe needs {LEAST_EPISODES} to hold some out"
        )
    keys = sorted({key for e in episodes for held in e.held_N for key in held})
    counters = sorted({name for e in episodes for told in e.counters_N for name in told})
    state = [state_features(e, keys, counters) for e in episodes]
    names = [n for n in episodes[there[0]].groups if all(n in episodes[i].groups for i in there)]
    groups = {n: [e.groups[n] if n in e.groups else _none(e) for e in episodes] for n in names}
    scale = cut.target_WP.std(0)
    persistence = _squares(cut, scale, cut.persistence_WP)
    folds = _folds(cut, seed)
    means = np.zeros(cut.target_WP.shape)
    for held in folds:
        out_W = np.isin(cut.episode_W, held)
        means[out_W] = _squares(cut, scale, cut.target_WP[~out_W].mean(0)[None])[out_W]
    inputs = {
        name: [features(group, cut, ~np.isin(cut.episode_W, held)) for held in folds]
        for name, group in {"state": state, **groups}.items()
    }
    say("dynamics probe: state alone")
    told = _fitted(cut, scale, folds, [inputs["state"]], seed, cut.persistence_WP)
    # What the state still has to say once it has spoken: the groups get the same second chance.
    bare = _fitted(cut, scale, folds, [inputs["state"]], seed, cut.persistence_WP, told.guesses)
    found = []
    for name in [*names, *(["all"] if len(names) > 1 else [])]:
        say(f"dynamics probe: {name}")
        chosen = names if name == "all" else [name]
        parts = [inputs[part] for part in chosen]
        both = _fitted(
            cut, scale, folds, [inputs["state"], *parts], seed, cut.persistence_WP, told.guesses
        ).errors
        without = _fitted(cut, scale, folds, parts, seed, None).errors
        found.append(
            GroupGain(
                name,
                sum(groups[part][0].shape[1] for part in chosen),
                _rms(both),
                _gain(cut, both, bare.errors),
                _gain(cut, without, means),
                {
                    part: round(1 - _rms(both[:, [p]]) / max(_rms(bare.errors[:, [p]]), 1e-12), 4)
                    for p, part in enumerate(cut.parts)
                },
            )
        )
    return ProbeReport(
        len(there),
        len(cut.episode_W),
        seed,
        cut.parts,
        dict(zip(cut.parts, scale.round(4).tolist(), strict=True)),
        _rms(persistence),
        _rms(bare.errors),
        _gain(cut, bare.errors, persistence),
        tuple(found),
    )


def _none(episode: Episode) -> F32:
    return np.full((len(episode.times_N), 1), np.nan, np.float32)


def _squares(cut: Windows, scale: F64, predicted_WP: F64) -> F64:
    """Squared errors in standard deviations, WxP."""
    return np.asarray(((cut.target_WP - predicted_WP) / scale) ** 2)


def _rms(squares_WP: F64) -> float:
    return float(np.sqrt(squares_WP.mean()))


def _gain(cut: Windows, squares_WP: F64, baseline_WP: F64) -> Gain:
    """1 minus the ratio of errors."""
    sums = np.array(
        [
            [squares[cut.episode_W == n].mean(1).sum() for n in np.unique(cut.episode_W)]
            for squares in (squares_WP, baseline_WP)
        ]
    )
    return gain(sums, lambda total: 1 - float(np.sqrt(total[0] / max(total[1], 1e-12))))


def _folds(cut: Windows, seed: int) -> list[NDArray[np.int64]]:
    """Videos held out together."""
    numbers = np.random.default_rng(seed).permutation(np.unique(cut.episode_W))
    return np.array_split(numbers, min(_FOLDS, len(numbers)))


@dataclass(frozen=True)
class _Fit:
    """Squared errors WxP of each window by probes that did not see its video; and what every
    network says of every window, BxWxP."""

    errors: F64
    guesses: F32


def _fitted(
    cut: Windows,
    scale: F64,
    folds: Sequence[NDArray[np.int64]],
    groups: Sequence[Sequence[F32]],
    seed: int,
    base: F64 | None,
    before: F32 | None = None,
) -> _Fit:
    """Networks that correct `base` (the mean of the training windows if None), or what networks
    `before` made of it; `groups` are the features of every fold."""
    inputs, wanted, train, aside = [], [], [], []
    for fold, held in enumerate(folds):
        out_W = np.isin(cut.episode_W, held)
        start = cut.target_WP[~out_W].mean(0)[None] if base is None else base
        rest = np.unique(cut.episode_W[~out_W])
        rng = np.random.default_rng([seed, fold])
        for _ in range(_MEMBERS):
            aside_W = np.isin(cut.episode_W, rng.permutation(rest)[: max(len(rest) // 4, 1)])
            inputs.append(np.concatenate([group[fold] for group in groups], 1))
            wanted.append(((cut.target_WP - start) / scale).astype(np.float32))
            train.append(~out_W & ~aside_W)
            aside.append(aside_W)
    whole = np.stack(wanted)
    known = np.zeros_like(whole) if before is None else before
    more = _train(np.stack(inputs), whole - known, np.stack(train), np.stack(aside), seed)
    guesses_BWP = known + more
    errors = np.zeros(cut.target_WP.shape)
    for fold, held in enumerate(folds):
        out_W = np.isin(cut.episode_W, held)
        members = slice(fold * _MEMBERS, (fold + 1) * _MEMBERS)
        guess = guesses_BWP[members, out_W].mean(0)
        errors[out_W] = (wanted[fold * _MEMBERS][out_W] - guess) ** 2
    return _Fit(errors, guesses_BWP)


def _train(
    inputs_BWF: F32,
    wanted_BWP: F32,
    train_BW: NDArray[np.bool_],
    aside_BW: NDArray[np.bool_],
    seed: int,
) -> F32:
    """What each of B networks says of all windows when its windows aside judge it best, BxWxP.

    They are trained at once, each on its own windows, which is faster than one after another.
    """
    torch = import_torch()
    x, y = torch.from_numpy(inputs_BWF), torch.from_numpy(wanted_BWP)
    (batch, _, width), outputs = x.shape, y.shape[2]
    weights = [torch.from_numpy(m.astype(np.float32))[..., None] for m in (train_BW, aside_BW)]
    on, off = (w / w.sum(1, keepdim=True).clamp(min=1) / outputs for w in weights)
    with alone(seed):
        reach = width**-0.5
        first = torch.empty(batch, width, _HIDDEN).uniform_(-reach, reach).requires_grad_()
        bias = torch.zeros(batch, 1, _HIDDEN, requires_grad=True)
        last = torch.zeros(batch, _HIDDEN, outputs, requires_grad=True)
        shift = torch.zeros(batch, 1, outputs, requires_grad=True)
        optimiser = torch.optim.AdamW([first, bias, last, shift], lr=6e-3, weight_decay=_DECAY)
        # To say nothing is the first answer, and a later one must be better by a share.
        best = (off * y**2).sum((1, 2))
        answer = torch.zeros_like(y)
        waited = 0
        for step in range(_STEPS + 1):
            hidden = torch.nn.functional.gelu(torch.baddbmm(bias, x, first))
            if step % _LOOK == 0:
                with torch.no_grad():
                    said = torch.baddbmm(shift, hidden, last)
                    error = (off * (said - y) ** 2).sum((1, 2))
                    better = error < (1 - _BETTER) * best
                    best = torch.where(better, error, best)
                    answer[better] = said[better]
                waited = 0 if bool(better.any()) else waited + 1
                if waited == _PATIENCE:
                    break
            optimiser.zero_grad()
            kept = torch.nn.functional.dropout(hidden, 0.2)
            (on * (torch.baddbmm(shift, kept, last) - y) ** 2).sum().backward()
            optimiser.step()
    return np.asarray(answer.numpy(), np.float32)
