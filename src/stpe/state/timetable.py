"""Frame times as a witness: frames that come when the picture changes come like no others.

A log that states the time of each frame of its video to the millisecond can be recognised by them
where they are irregular. Frames at a regular rate, or nearly, fit at many lags and tell nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Containers round times to this, seconds.
_ROUNDED_S = 0.0011
#: Least frames, share of them that must be there on both sides, and largest share that may be
#: there at any other lag.
LEAST_FRAMES, LEAST_BOTH, MOST_OTHER = 12, 0.9, 0.6


def same_timetable(log_times: F64, frame_times: F64) -> bool:
    """Whether a log's times are those of a video's frames, and could be no other video's.

    Args:
        log_times: NaN where a row has none.
        frame_times: seconds of every decoded frame, ascending.
    """
    told = np.unique(log_times[np.isfinite(log_times)])
    seen = np.unique(frame_times)
    if min(len(told), len(seen)) < LEAST_FRAMES:
        return False
    both = min(_share(seen, told), _share(told, seen))
    if both < LEAST_BOTH:
        return False
    # Other lags that bring one frame onto another; of long videos those of some frames.
    some = seen[:: max(1, len(seen) // 500)]
    lags = np.unique(np.round((some[:, None] - some[None])[np.triu_indices(len(some), 1)], 3))
    lags = lags[(np.abs(lags) > 3 * _ROUNDED_S) & (np.abs(lags) < np.ptp(seen) / 2)]
    step = max(1, len(lags) // 2000)
    others = [
        share
        for lag in lags[::step]
        for share in (_overlap(seen, seen + lag), _overlap(seen, seen - lag))
    ]
    return max(others, default=0.0) <= MOST_OTHER


def _share(wanted: F64, there: F64) -> float:
    """Share of some times that are among others."""
    at = np.clip(np.searchsorted(there, wanted), 1, len(there) - 1)
    gap = np.minimum(np.abs(there[at - 1] - wanted), np.abs(there[at] - wanted))
    return float((gap <= _ROUNDED_S).mean())


def _overlap(seen: F64, moved: F64) -> float:
    """The share where the two overlap in time; of few frames none."""
    inside = moved[(moved >= seen[0] - _ROUNDED_S) & (moved <= seen[-1] + _ROUNDED_S)]
    return _share(inside, seen) if len(inside) >= LEAST_FRAMES else 0.0
