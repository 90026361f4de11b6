"""Events of the whole picture: cuts, the camera starting and stopping, the game's state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.narrate.state import read_state
from stpe.narrate.transitions import transitions
from stpe.narrate.words import camera_does, moves, sentence
from stpe.stages.event_tracks import GAP_S, Event

_TRUST = {"package": 1.0, "clock": 1.0, "frame": 1.0, "estimated": 0.7, "unverified": 0.4}


def shot_changes(shots: Sequence[Mapping[str, Any]], frames_N: NDArray[np.int64]) -> list[Event]:
    """One event for each shot that begins with a transition, at the first analysis frame that
    shows it: `frames_N` are their decoder indices. After the last one, the last."""
    found = []
    for shot in shots:
        cut = shot["transition"] == "cut"
        if not cut and shot["transition"] != "gradual":
            continue
        how = "a cut" if cut else "a gradual transition"
        confidence = 1.0 if shot["confidence"] is None else shot["confidence"]
        seen = min(int(np.searchsorted(frames_N, shot["start_frame"])), len(frames_N) - 1)
        found.append(
            Event(
                "cut" if cut else "gradual_transition",
                shot["start_pts"],
                int(frames_N[seen]),
                f"Shot {shot['shot_id']} begins with {how}.",
                confidence,
                {"shot_id": shot["shot_id"], "probability": round(confidence, 3)},
            )
        )
    return found


def camera_changes(frames: Sequence[Mapping[str, Any]]) -> list[Event]:
    """The camera starts or stops, where two rows in a row agree on either side; unmeasured rows
    are skipped up to GAP_S."""
    runs: list[list[Mapping[str, Any]]] = []
    broken = True  # the start, a cut or a gap: what comes next continues nothing
    previous, measured = 0.0, math.inf
    for row in frames:
        state = moves(row.get("camera_motion"))
        unmeasured_s, previous = previous - measured, row["pts"]
        if state is None:
            broken = row.get("camera_motion") == "cut" or broken
            if broken:
                runs.append([])
            continue
        if not broken and unmeasured_s > GAP_S:
            broken = True
            runs.append([])
        if not broken and runs and runs[-1] and moves(runs[-1][-1]["camera_motion"]) == state:
            runs[-1].append(row)
        else:
            runs.append([row])
        broken, measured = False, row["pts"]
    stable = [run for run in runs if len(run) != 1]
    found = []
    for before, after in pairwise(stable):
        if not before or not after:
            continue
        was, now = before[-1]["camera_motion"], after[0]["camera_motion"]
        if moves(was) == moves(now):
            continue
        starts = bool(moves(now))
        text = (
            f"the camera starts to {camera_does(now, to=True)}"
            if starts
            else "the camera comes to rest"
        )
        around = [*before[-2:], *after[:2]]
        trust = [r.get("camera_confidence") for r in around]
        known = [t for t in trust if t is not None]
        found.append(
            Event(
                "camera_starts" if starts else "camera_stops",
                after[0]["pts"],
                after[0]["frame_index"],
                sentence(text),
                sum(known) / len(known) if known else 0.5,
                {"before": was, "after": now, "frames": [r["frame_index"] for r in around]},
            )
        )
    return found


def state_changes(frames: Sequence[Mapping[str, Any]]) -> list[Event]:
    """What changed in the state log: as the log tells between frames, else from one analysis frame
    to the next."""
    found: list[Event] = []
    part: list[Mapping[str, Any]] = []
    for row in [*frames, None]:
        if row is not None and row.get("state_changes") is not None:
            for change in json.loads(row["state_changes"]):
                text, pts = change.pop("text"), change.pop("pts")
                found.append(_transition(row, pts, text, change))
        elif row is not None and row.get("alignment") != "unaligned" and row.get("state"):
            part.append(row)
            continue
        found += _from_frames(part)
        part = []
    return found


def _from_frames(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    samples = [(row["pts"], read_state(row["state"])) for row in rows]
    known = [(pts, state) for pts, state in samples if state is not None]
    at = {row["pts"]: row for row in rows}
    return [_transition(at[t.pts], t.pts, t.text, t.evidence) for t in transitions(known)]


def _transition(
    row: Mapping[str, Any], pts: float, text: str, evidence: Mapping[str, Any]
) -> Event:
    trust = _TRUST.get(row.get("alignment") or "", 0.7)
    index = row["frame_index"]
    return Event("state_transition", pts, index, sentence(text), trust, dict(evidence))
