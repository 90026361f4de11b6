"""Some hundred mutated pictures and videos against the real server, of `benchmarks/fuzz.py`."""

import base64
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from fuzz_inputs import mutated, pictures, videos
from stpe.client import RequestFailedError


@pytest.mark.weights
@pytest.mark.parametrize(
    ("task", "seeds", "count", "options"),
    [
        ("depth-estimation", pictures, 200, {}),
        ("velocity-estimation", videos, 30, {"max_frames": 2, "imgsz": 64}),
    ],
)
def test_what_is_damaged_is_answered_and_the_server_lives(live, task, seeds, count, options):
    before = live.health()
    statuses = Counter()
    for mime, data in mutated(seeds(), count, seed=2):
        body = {
            "task": task,
            "payloadBase64": base64.b64encode(data).decode(),
            "mimeType": mime,
            "options": options,
        }
        try:
            statuses[live.call("POST", "/infer", json=body).status_code] += 1
        except RequestFailedError as failed:
            statuses[failed.problem["status"]] += 1
    assert set(statuses) <= {200, 413, 415, 422}
    assert statuses[200] > 0 < statuses[422]
    after = live.health()
    assert after["uptime_seconds"] > before["uptime_seconds"]
    assert after["pending_requests"] == 0
