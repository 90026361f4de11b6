"""A temporal module over frame embeddings, and whether it beats pooling without parameters.

A transformer encoder (Vaswani et al. 2017) with times in seconds, trained without labels on two
tasks: frames that were masked (as in BERT, Devlin et al. 2019) and the next frame's embedding.
It is measured on videos that it was not trained on, against the best that needs no training: the
last embedding for the next one, and `stpe.stages.attention` for clips: a clip's first half must
find its second half among those of the other held-out clips. Only where the module wins beyond the
interval over videos does `pays` say that it may replace the pooling.

Shape legend: B windows, K frames of one, D embedding dimension, H width of the module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.small_torch import alone, import_torch
from stpe.models.temporal import build
from stpe.stages.attention import attention_pool
from stpe.train.episodes import Episode
from stpe.train.gain import Gain, gain
from stpe.train.probe import LEAST_EPISODES

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LENGTH = 16
_FOLDS = 2
_STEPS = 150
_BATCH = 16
_RATE = 5e-4
_MASKED = 0.3


@dataclass(frozen=True)
class TaskGain:
    """One task: mean score of the parameter-free way and of the module, higher is better; the
    difference with its 95 % interval over videos; how many cases."""

    name: str
    baseline_name: str
    baseline: float
    module: float
    gain: Gain
    n: int


@dataclass(frozen=True)
class TemporalReport:
    """`pays`: the module's clip embedding is better beyond the interval. `weights`: where they
    were kept."""

    episodes: int
    windows: int
    seconds: float
    parameters: int
    tasks: tuple[TaskGain, ...]
    pays: bool
    weights: str | None


def train_temporal(
    episodes: Sequence[Episode],
    seed: int = 0,
    weights: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TemporalReport:
    """Train on some videos and measure on the others, in turn; keep one trained on all.

    Raises:
        UsageError: too few videos with embeddings, or of different models.
    """
    embedded = [
        (i, e) for i, e in enumerate(episodes)
        if e.embeddings_ND is not None and len(e.embeddings_ND) >= LENGTH
    ]  # fmt: skip
    if len(embedded) < LEAST_EPISODES:
        raise UsageError(
            f"{len(embedded)} videos have {LENGTH} embedded frames; the temporal module needs "
            f"{LEAST_EPISODES} to hold some out"
        )
    sizes = {e.embeddings_ND.shape[1] for _, e in embedded if e.embeddings_ND is not None}
    if len(sizes) > 1:
        raise UsageError(f"embeddings of {len(sizes)} models cannot be mixed; process them alike")
    x_BKD, t_BK, place_B2 = _windows(embedded)
    which_B = place_B2[:, 0]
    numbers = np.random.default_rng(seed).permutation(np.unique(which_B))
    found: list[dict[str, F64]] = []
    for fold, held in enumerate(np.array_split(numbers, _FOLDS)):
        say(f"temporal module: part {fold + 1} of {_FOLDS}")
        out = np.isin(which_B, held)
        network = _fit(x_BKD[~out], t_BK[~out], place_B2[~out], seed + fold)
        out &= place_B2[:, 1] % LENGTH == 0  # these do not overlap: no half is in two of them
        found.append({"video": which_B[out].astype(np.float64),
                      **_measured(network, x_BKD[out], t_BK[out])})  # fmt: skip
    scores = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    tasks = (
        _task(scores, "cosine of the next embedding", "next", "the last one again"),
        _task(scores, "a clip's second half found by its first (reciprocal rank)", "half",
              "attention pooling"),
    )  # fmt: skip
    kept = None
    if weights is not None:
        say("temporal module: trained on all videos, to be kept")
        kept = str(weights)
        _keep(_fit(x_BKD, t_BK, place_B2, seed), weights)
    return TemporalReport(
        len(embedded),
        len(x_BKD),
        float(np.median(t_BK[:, -1])),
        sum(p.numel() for p in network.parameters()),
        tasks,
        tasks[1].gain.sure,
        kept,
    )


def _windows(embedded: Sequence[tuple[int, Episode]]) -> tuple[F32, F32, NDArray[np.int64]]:
    """Windows of LENGTH frames, a quarter of it apart, and their (video, first frame)."""
    x, t, which = [], [], []
    for number, episode in embedded:
        assert episode.embeddings_ND is not None
        for start in range(0, len(episode.times_N) - LENGTH + 1, LENGTH // 4):
            part = slice(start, start + LENGTH)
            x.append(episode.embeddings_ND[part])
            t.append(episode.times_N[part] - episode.times_N[start])
            which.append((number, start))
    return (
        np.array(x, np.float32),
        np.array(t, np.float32),
        np.array(which, np.int64).reshape(-1, 2),
    )


def _fit(x_BKD: F32, t_BK: F32, place_B2: NDArray[np.int64], seed: int) -> Any:
    torch = import_torch()
    x, t, place = (torch.from_numpy(part) for part in (x_BKD, t_BK, place_B2))
    with alone(seed):
        network = build(x.shape[2])
        optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
        for _ in range(_STEPS):
            at = torch.randint(0, len(x), (min(_BATCH, len(x)),))
            optimiser.zero_grad()
            _loss(network, x[at], t[at], place[at]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    return network.eval()


def _loss(network: Any, x: Any, t: Any, place: Any) -> Any:
    """1 - cosine of masked frames and of next frames; and halves of one clip that find each
    other among the batch's (InfoNCE, van den Oord et al. 2018), which trains the pooling."""
    torch = import_torch()
    masked = torch.rand(x.shape[:2]) < _MASKED
    masked[:, 0] = False
    mean = torch.where(masked[..., None], torch.zeros(()), x).sum(1, keepdim=True)
    hidden = network.encode(x, t, masked)
    filled = network.guess(torch.nn.functional.normalize(mean, dim=-1), hidden)
    fill = (1 - (filled * x).sum(-1))[masked].mean()
    ahead = network.guess(x[:, :-1], network.encode(x[:, :-1], t[:, :-1], causal=True))
    following = (1 - (ahead * x[:, 1:]).sum(-1)).mean()
    half = x.shape[1] // 2
    first, second = network.pool(x[:, :half], t[:, :half]), network.pool(x[:, half:], t[:, half:])
    logits = first @ second.T / 0.05
    truth = torch.arange(len(x))
    apart = (place[:, None, 1] - place[None, :, 1]).abs() >= 2 * LENGTH
    other = (place[:, None, 0] != place[None, :, 0]) | apart | (truth[:, None] == truth)
    logits = logits.masked_fill(~other, -torch.inf)  # clips that overlap are no wrong answers
    pairs = torch.nn.functional.cross_entropy(logits, truth)
    return fill + following + 0.1 * pairs


def _measured(network: Any, x_BKD: F32, t_BK: F32) -> dict[str, F64]:
    """Scores of each window, of the module and of what needs no training."""
    torch = import_torch()
    x, t = torch.from_numpy(x_BKD), torch.from_numpy(t_BK)
    half = x.shape[1] // 2
    with torch.inference_mode(), alone(0):
        ahead = network.guess(x[:, :-1], network.encode(x[:, :-1], t[:, :-1], causal=True))
        # The last frame alone: it is the one that has seen the whole window.
        following = (ahead[:, -1] * x[:, -1]).sum(-1).numpy()
        first, second = (
            network.pool(x[:, :half], t[:, :half]),
            network.pool(x[:, half:], t[:, half:]),
        )
    plain = [
        np.array([attention_pool(rows, times) for rows, times in zip(xs, ts, strict=True)])
        for xs, ts in (
            (x_BKD[:, :half], t_BK[:, :half].astype(np.float64)),
            (x_BKD[:, half:], t_BK[:, half:].astype(np.float64)),
        )
    ]
    return {
        "next_module": following.astype(np.float64),
        "next_baseline": (x_BKD[:, -2] * x_BKD[:, -1]).sum(-1).astype(np.float64),
        "half_module": _reciprocal_rank(first.numpy() @ second.numpy().T),
        "half_baseline": _reciprocal_rank(plain[0] @ plain[1].T),
    }


def _reciprocal_rank(similarity_BB: F32) -> F64:
    own = np.diag(similarity_BB)[:, None]
    return np.asarray(1.0 / (similarity_BB >= own).sum(1))


def _task(scores: dict[str, F64], name: str, key: str, baseline: str) -> TaskGain:
    module, plain, video = scores[f"{key}_module"], scores[f"{key}_baseline"], scores["video"]
    numbers = np.unique(video)
    sums = np.array(
        [[d[video == n].sum() for n in numbers] for d in (module, plain, 1 + 0 * plain)]
    )
    return TaskGain(
        name,
        baseline,
        round(float(plain.mean()), 4),
        round(float(module.mean()), 4),
        gain(sums, lambda total: float((total[0] - total[1]) / total[2])),
        len(module),
    )


def _keep(network: Any, path: Path) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    save_file(network.state_dict(), str(part))
    part.replace(path)
