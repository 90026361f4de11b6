"""From a dataset to time series: the state to predict, and the signals that may help.

Shape legend: N frames of one video in time order, P parts of the state, D features of a group.
Everything known at frame i uses frames up to i alone, but for identities (`tracks`), which are
settled over the whole video.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.narrate.state import GameState, read_state
from stpe.train.groups import GROUPS, Rows

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Episode:
    """One video.

    Attributes:
        name: dataset and video id.
        times_N: pts of the frames, seconds.
        position_N3, heading_N: of the log's figure, in its length unit and degrees (left
            positive, unwrapped); NaN where unknown.
        speed_N, vertical_N: in its speed unit; NaN where unknown.
        held_N: keys held. counters_N: health and the like.
        round_N: number of the game's round: nothing is predicted across.
        groups: name of a signal group to its features, NxD; NaN where not measured.
        embeddings_ND: frame embeddings, unit L2; None without.
        verified: whether no state is of a log that nothing in the video confirms.
    """

    name: str
    times_N: F64
    position_N3: F64
    heading_N: F64
    speed_N: F64
    vertical_N: F64
    held_N: tuple[frozenset[str], ...]
    counters_N: tuple[Mapping[str, float], ...]
    round_N: tuple[str, ...]
    groups: Mapping[str, F32] = field(default_factory=dict)
    embeddings_ND: F32 | None = None
    verified: bool = True

    @property
    def video_id(self) -> str:
        """The video's alone, the same in every dataset."""
        return self.name.rpartition("/")[2]


def read_episodes(dataset: Dataset) -> list[Episode]:
    """Every video of a dataset that has a state or embeddings, in order.

    Raises:
        DatasetError: there is none.
    """
    found = [e for e in (_read(dataset, video) for video in dataset.videos) if e is not None]
    if not found:
        raise DatasetError(
            f"{dataset.path} has neither a matched state log nor embeddings: process it with "
            "--state LOG"
        )
    return found


def _read(dataset: Dataset, video: str) -> Episode | None:
    rows = Rows(dataset, video)
    states = [
        read_state(row["state"]) if row["alignment"] != "unaligned" else None for row in rows.frames
    ]
    embedded = [row["embedding"] for row in rows.frames]
    if not any(states) and not any(embedded):
        return None
    embeddings = None
    if embedded and all(e is not None for e in embedded):
        embeddings = np.array(embedded, np.float32)
    groups = {name: make(rows) for name, make in GROUPS.items()}
    return Episode(
        f"{dataset.path.name}/{video}",
        np.array([row["pts"] for row in rows.frames], np.float64),
        _positions(states),
        _headings(states),
        _numbers([None if s is None else s.speed for s in states]),
        _numbers([None if s is None else s.vertical for s in states]),
        tuple(frozenset(s.inputs or ()) if s else frozenset() for s in states),
        tuple(s.counters if s else {} for s in states),
        tuple(s.episode if s else "" for s in states),
        {n: f for n, f in groups.items() if f is not None and np.isfinite(f).any()},
        embeddings,
        all(row["alignment"] != "unverified" for row in rows.frames),
    )


def _positions(states: list[GameState | None]) -> F64:
    found = np.full((len(states), 3), np.nan)
    for i, state in enumerate(states):
        if state is not None and state.position is not None:
            found[i, : len(state.position)] = state.position
            found[i, len(state.position) :] = 0.0
    return found


def _headings(states: list[GameState | None]) -> F64:
    found = _numbers([None if s is None else s.heading_deg for s in states])
    known = np.isfinite(found)
    found[known] = np.degrees(np.unwrap(np.radians(found[known])))
    return found


def _numbers(values: list[float | None]) -> F64:
    return np.array([math.nan if v is None else v for v in values], np.float64)
