"""Tracks of what is fixed to the screen: a weapon in hand, a cockpit, a logo.

While the camera turns, such a thing stays where it is in the picture, so it seems to move against
the world. Its bobbing is not motion that an event should tell of. A subject that the camera
follows stays roughly in place too, but not for as long: it is told apart by how far it strays
while the camera sweeps a whole frame's width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stpe.stages.event_tracks import Clock, Track

F64 = NDArray[np.float64]

#: Frame widths that the camera must have swept past the track's place before anything is said.
SWEPT = 1.0
#: Part of the frame's diagonal that the middle of the box may stray, its rare ends left out.
STRAYED = 0.04
#: Share of the camera's large steps that the box did not go along with.
STAYED = 0.8
_STEP = 0.02  # of the diagonal: camera motion that stands out against a box's jitter


def screen_fixed(track: Track, clock: Clock, cameras: Mapping[int, F64]) -> bool:
    """Whether a track stays in its place in the picture although the camera moves on.

    Args:
        track: to be judged; steps across a gap in it do not count.
        clock: the analysis frames.
        cameras: frame index to the 3x3 map of pixels of the analysis frame before to that frame.
    """
    diagonal = float(np.hypot(*clock.size))
    middle_N2 = (track.boxes_N4[:, :2] + track.boxes_N4[:, 2:]) / 2
    carried, moved = [], []
    for i in range(1, len(middle_N2)):
        frame = int(track.frames_N[i])
        near = clock.at(frame) - clock.at(int(track.frames_N[i - 1])) == 1
        if not near or frame not in cameras:
            continue
        x, y, w = cameras[frame] @ [*middle_N2[i - 1], 1.0]
        step = np.hypot(*(np.array([x, y]) / w - middle_N2[i - 1])) if abs(w) > 1e-6 else 0.0
        if _STEP * diagonal <= step <= diagonal:
            carried.append(float(step))
            moved.append(float(np.hypot(*(middle_N2[i] - middle_N2[i - 1]))))
    if sum(carried) < SWEPT * clock.size[0]:
        return False
    stayed = np.mean(np.array(moved) < np.array(carried) / 2)
    low, high = np.percentile(middle_N2, [10, 90], axis=0)
    return bool(stayed >= STAYED and np.hypot(*(high - low)) <= STRAYED * diagonal)
