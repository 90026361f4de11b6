"""The state log: error of the lag that the certificate states."""

from __future__ import annotations

import json

from stpe.evaluate.measure import Measure, NotScoredError
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View


def score(view: View, truth: Truth) -> list[Measure]:
    """Stated lag against true lag, and whether the certified interval holds it."""
    if truth.log_lag_ms is None:
        raise NotScoredError("the truth does not say how the state log lies in time")
    view.need("videos", "alignment")
    certificate = json.loads(view.video["alignment"])
    if certificate.get("verdict") == "unaligned" or certificate.get("lag_ms") is None:
        raise NotScoredError("the state log was not aligned, and no lag is claimed")
    error = abs(certificate["lag_ms"] - truth.log_lag_ms)
    interval = certificate.get("interval_ms")
    if interval is None:
        said = "the log's own claim, no interval"
    else:
        inside = interval[0] <= truth.log_lag_ms <= interval[1]
        said = f"certified interval {'holds' if inside else 'misses'} the true lag"
    return [
        Measure(
            "videos.alignment",
            "lag error",
            "ms",
            "lower",
            1,
            "logs",
            lambda weights_B: error,
            note=f"{certificate['verdict']} by {certificate.get('method')}; {said}",
        )
    ]
