"""What a Sam3VideoInferenceSession records of its named objects: whose word, how sure, how long on
trial. transformers keeps every frame's; here only what its rules can still ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any


def enrol(
    session: Any, object_id: int, number: int, score: float, index: int, keep_alive: int
) -> None:
    """A new object, found in a frame by the word of that number."""
    session.obj_id_to_prompt_id[object_id] = number
    session.obj_id_to_score[object_id] = score
    session.obj_first_frame_idx[object_id] = index
    session.trk_keep_alive[object_id] = keep_alive


def restart(session: Any, begin: int, before: int) -> None:
    """A walk begins in frame `begin`: objects known from elsewhere stand no trial again, as if
    they had been first seen in frame `before`."""
    session.unmatched_frame_inds = defaultdict(list)
    session.overlap_pair_to_frame_inds = defaultdict(list)
    session.obj_id_to_last_occluded = {}
    for object_id, first in session.obj_first_frame_idx.items():
        if first != begin:
            session.obj_first_frame_idx[object_id] = before


def take_over(session: Any, after: dict[str, Any], model: Any) -> None:
    """Make the records that the rules of a Sam3VideoModel planned the session's."""
    records = after["extra_metadata"]
    session.obj_id_to_score = after["obj_id_to_score"]
    session.obj_id_to_last_occluded = after["obj_id_to_last_occluded"]
    session.obj_ids = list(after["obj_ids"])
    session.obj_first_frame_idx = records["obj_first_frame_idx"]
    session.trk_keep_alive = records["trk_keep_alive"]
    session.unmatched_frame_inds = _last(
        records["unmatched_frame_inds"], model.hotstart_unmatch_thresh
    )
    session.overlap_pair_to_frame_inds = _last(
        records["overlap_pair_to_frame_inds"], model.hotstart_dup_thresh
    )


def forget(session: Any, gone: set[int]) -> None:
    """Objects that are no more."""
    for object_id in gone:
        for held in (
            session.obj_id_to_score,
            session.obj_id_to_last_occluded,
            session.obj_first_frame_idx,
            session.trk_keep_alive,
            session.unmatched_frame_inds,
            session.obj_id_to_prompt_id,
        ):
            held.pop(object_id, None)
    pairs = session.overlap_pair_to_frame_inds
    for pair in [p for p in pairs if gone & set(p)]:
        del pairs[pair]


def _last(frames: Mapping[Any, list[int]], most: int) -> defaultdict[Any, list[int]]:
    """Only as many of the frames as can still be counted."""
    return defaultdict(list, {key: held[-most:] for key, held in frames.items()})
