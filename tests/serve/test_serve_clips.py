"""Clip classification over HTTP: every form a frame may take, and a server without weights."""

import base64
import time
from itertools import islice

import cv2
import numpy as np
import pytest
from live_server import NONE, live_server

from stpe.client import RequestFailedError
from stpe.errors import UsageError
from stpe.video import Grid, open_source, sample

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def frames(shared_data):
    """The first sixteen RGB frames of a juggler."""
    path = shared_data / "plain_clips" / "sam2_05_default_juggle.mp4"
    grid = Grid("clip", None, long_side=320)
    with open_source(path) as source:
        images = [frame.images["clip"] for frame in islice(sample(source, [grid]), 16)]
    return np.stack(images)


def encoded(frames, suffix):
    return [cv2.imencode(suffix, f[:, :, ::-1])[1].tobytes() for f in frames]


def test_raw_and_encoded_frames_give_one_answer(live, frames):
    rgb = live.classify(frames, channels="RGB")
    bgr = live.classify(np.ascontiguousarray(frames[..., ::-1]), channels="BGR")
    png = live.classify(encoded(frames, ".png"), (320, 180), channels="BGR")
    assert "juggling" in rgb.predictions[0].label
    assert len(rgb.predictions) == 5
    scores = [p.confidence for p in rgb.predictions]
    assert scores == sorted(scores, reverse=True)
    assert rgb.predictions == bgr.predictions == png.predictions
    jpeg = live.classify(encoded(frames, ".jpg"), (320, 180))
    assert jpeg.predictions[0].label == rgb.predictions[0].label
    assert len({rgb.clip_id, bgr.clip_id, png.clip_id, jpeg.clip_id}) == 4


def test_size_comes_before_signature(live, frames):
    """Raw pixels that happen to begin as a JPEG does are still raw pixels."""
    raw = frames.copy()
    raw[:, 0, 0] = (0xFF, 0xD8, 0xFF)
    assert "juggling" in live.classify(raw).predictions[0].label


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (lambda b: b.update(frames=b["frames"][:15]), 422, "16"),
        (lambda b: b.update(width=319), 415, "319x180x3"),
        (lambda b: b.update(format="HSV"), 422, "BGR"),
        (lambda b: b["frames"].__setitem__(3, "no base64!"), 422, "frames[3]"),
        (lambda b: b["frames"].__setitem__(3, base64.b64encode(b"GIF89a").decode()), 415, "PNG"),
    ],
)
def test_wrong_clips_are_refused(live, frames, change, status, says):
    body = {
        "frames": [base64.b64encode(f.tobytes()).decode() for f in frames],
        "width": 320,
        "height": 180,
        "format": "RGB",
    }
    change(body)
    with pytest.raises(RequestFailedError) as failed:
        live.call("POST", "/api/v1/infer", json=body)
    assert failed.value.status == status
    assert says in failed.value.problem["detail"]


def test_without_weights_it_says_how_to_get_them(bare, frames):
    health = bare.health()
    assert health["status"] == "healthy"
    assert health["model_loaded"] is False
    with pytest.raises(RequestFailedError) as failed:
        bare.classify(np.ascontiguousarray(frames[:, ::4, ::4]))
    assert failed.value.status == 503
    assert "stpe models" in failed.value.problem["detail"]
    assert failed.value.retry_after_s


def test_the_service_names_itself(live):
    about = live.call("GET", "/").json()
    assert about["service"] == "STPE"
    assert {"POST /infer", "POST /api/v1/infer", "GET /health"} <= set(about["endpoints"])
    assert live.health()["model_loaded"] is True
    assert live.call("GET", "/health/live").json() == {"status": "alive"}
    for page in ("/docs", "/redoc"):
        assert "text/html" in live.call("GET", page).headers["content-type"]


def test_it_answers_while_models_load_and_waits_for_the_one_it_needs(tmp_path, people):
    with live_server(tmp_path, wait=False) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.call("GET", "/health/live")
                break
            except UsageError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        with pytest.raises(RequestFailedError) as loading:
            client.call("GET", "/health/ready")
        assert loading.value.status == 503
        assert loading.value.retry_after_s
        assert client.infer("object-detection", next(iter(people))).results
        client.wait_ready(120)


def test_replicas_share_a_port(tmp_path):
    """And have no video sessions, which would live in one of them only."""
    with live_server(tmp_path, "--replicas", "2", STPE_SERVE_MODELS=NONE) as client:
        assert client.health()["status"] == "healthy"
        assert all(client.call("GET", "/health/live").is_success for _ in range(8))
        with pytest.raises(RequestFailedError) as off:
            client.call("POST", "/api/v1/video/session/start", json={"video_path": "a.mp4"})
    assert off.value.status == 503
    assert "without --replicas" in str(off.value)
