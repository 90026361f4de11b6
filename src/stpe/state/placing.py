"""Where each row of a matched log lies on the video's clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.state.align import Certificate
from stpe.state.claim import claimed_by
from stpe.state.log import StateLog

F64 = NDArray[np.float64]


def placed(log: StateLog, certificate: Certificate, times: F64) -> F64:
    """Seconds on the video's clock of each row, or of each record where a log has them.

    Args:
        certificate: of the match. times: seconds of every decoded frame.

    Returns:
        N float64, also for rows before and after the video; all NaN where no frame was matched.
    """
    count = len(log.records) or len(log.rows)
    if not (certificate.row_N >= 0).any():
        return np.full(count, np.nan)
    claimed = claimed_by(log, times, certificate.tolerance_ms / 1e3).times_N
    if certificate.method == "estimated" and certificate.lag_ms is not None:
        # A row's clock is the video's time plus the lag, which grows by the drift.
        drift = (certificate.drift_ppm or 0.0) / 1e6
        middle = (times[0] + times[-1]) / 2
        claimed = (claimed - certificate.lag_ms / 1e3 + drift * middle) / (1 + drift)
    if not log.records:
        return np.asarray(claimed, np.float64)
    clock = np.array([np.nan if r.time is None else r.time for r in log.rows])
    wanted = np.array([record.time for record in log.records])
    known = np.isfinite(claimed) & np.isfinite(clock)
    clock, claimed = clock[known], claimed[known]
    found = np.interp(wanted, clock, claimed)
    before, after = wanted < clock[0], wanted > clock[-1]
    found[before] = claimed[0] + wanted[before] - clock[0]
    found[after] = claimed[-1] + wanted[after] - clock[-1]
    return np.asarray(found, np.float64)
