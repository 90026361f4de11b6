"""Several processes behind one port: jobs, uploads, metrics and images over all of them; long
videos as jobs; what a killed server leaves."""

import base64
import os
import stat
import sys
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
import toys
from jobs_server import server

from stpe import open_dataset
from stpe.serve.leftovers import PREFIX, sweep, work_folder


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def two(tmp_path_factory, media):
    environment = {"TOY_REPLICAS": "2", "STPE_SERVE_MEDIA_ROOTS": str(media)}
    with server(tmp_path_factory.mktemp("two"), pause_s=0.1, **environment) as running:
        yield running


def fresh(running, method, path, **how):
    """A request over a connection of its own, so that any replica may answer."""
    with httpx.Client(base_url=running.http.base_url, timeout=60) as http:
        return http.request(method, path, **how)


def upload(running, data, pieces=4):
    begun = fresh(running, "POST", "/uploads", params={"total_bytes": len(data)}).json()
    size = -(-len(data) // pieces)
    for offset in range(0, len(data), size):
        where = {"upload_id": begun["upload_id"], "offset": offset}
        piece = data[offset : offset + size]
        response = fresh(running, "POST", "/uploads", params=where, content=piece)
        assert response.status_code == 200, response.text
    assert fresh(running, "GET", f"/uploads/{begun['upload_id']}").json()["complete"]
    return begun["upload_id"]


def test_uploads_become_videos_that_are_processed_beside_each_other(two, tmp_path):
    ids = []
    for seed in (1, 2):
        clip = toys.write_clip(tmp_path / f"{seed}.mp4", seconds=20, seed=seed)
        ids.append(upload(two, clip.read_bytes()))
    jobs = [two.run("process_video", wait=False, upload_id=one, fps=4).json()["id"] for one in ids]
    busy = fresh(two, "DELETE", f"/uploads/{ids[0]}")
    assert busy.status_code == 409
    assert "a job uses this upload" in busy.json()["detail"]
    together = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = [two.http.get(f"/status/{job}").json()["status"] for job in jobs]
        together += states == ["IN_PROGRESS"] * 2
        if set(states) <= {"COMPLETED", "FAILED"}:
            break
        time.sleep(0.05)
    assert together, "they did not run at the same time"
    outputs = [two.http.get(f"/status/{job}").json()["output"] for job in jobs]
    dataset = open_dataset(two.folder / "dataset")
    assert {o["video_id"] for o in outputs} == set(dataset.videos)
    assert all(o["num_frames"] == 80 for o in outputs)
    assert list((two.folder / "dataset.staging").glob("*")) == []

    # the same again is known, and the upload is still there for it
    again = two.run("process_video", upload_id=ids[0], fps=4).json()
    assert again["output"] == outputs[0]
    assert fresh(two, "DELETE", f"/uploads/{ids[0]}").status_code == 204
    gone = two.run("process_video", upload_id=ids[0])
    assert gone.status_code == 404


def test_a_path_below_the_media_folders_is_a_job(two, media, tmp_path):
    toys.write_clip(media / "clip.mp4", seconds=2, seed=3)
    (media / "broken.mp4").write_bytes(b"no video")
    done = two.run("process_video", video_path="clip.mp4").json()
    assert done["status"] == "COMPLETED", done
    outside = toys.write_clip(tmp_path / "other.mp4", seconds=1)
    for path, status in ((outside, 403), ("../other.mp4", 403), ("none.mp4", 404)):
        assert two.run("process_video", video_path=str(path)).status_code == status
    wrong = two.run("process_video", video_path="broken.mp4")
    assert wrong.status_code == 422
    assert str(media) not in wrong.text
    both = two.run("process_video", video_path="clip.mp4", upload_id="x")
    assert both.status_code == 422


def test_metrics_are_those_of_all_and_sessions_say_why_not(two):
    def count():
        for line in fresh(two, "GET", "/metrics").text.splitlines():
            if line.startswith("stpe_http_requests_total") and 'route="/health/live"' in line:
                return float(line.split()[-1])
        return 0.0

    before = count()
    for _ in range(20):
        fresh(two, "GET", "/health/live")
    assert [count() - before for _ in range(6)] == [20.0] * 6
    text = fresh(two, "GET", "/metrics").text
    resident = next(x for x in text.splitlines() if x.startswith("stpe_memory_resident_bytes"))
    assert float(resident.split()[-1]) > 1e8
    refused = fresh(two, "POST", "/api/v1/video/session/start", json={"video_path": "clip.mp4"})
    assert refused.status_code == 503
    assert "2 replicas" in refused.json()["detail"]
    assert "VIDEO_MODEL_ENABLED" not in refused.text


@pytest.mark.weights
def test_an_image_is_segmented_by_any_replica(two):
    image = np.zeros((96, 160, 3), np.uint8)
    cv2.circle(image, (80, 48), 30, (40, 200, 90), -1)
    data = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
    body = {
        "imageBase64": data,
        "mimeType": "image/png",
        "prompts": [{"type": "point", "point": [0.5, 0.5]}],
    }
    deadline = time.monotonic() + 300
    with httpx.Client(base_url=two.http.base_url, timeout=300) as http:  # one replica loads models
        answer = http.post("/api/v1/image/segment", json=body)
        while answer.status_code == 503 and "being loaded" in answer.text:
            assert time.monotonic() < deadline
            answer = http.post("/api/v1/image/segment", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["objects"]


def test_what_is_written_is_for_this_user_alone(two):
    open_to_others = [
        path
        for path in two.folder.rglob("*")
        if path.name != "server.log" and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}dead"
    left.mkdir()
    (left / ".owned").touch()
    (left / "fetched.mp4").write_bytes(bytes(1000))
    young = tmp_path / f"{PREFIX}young"
    young.mkdir()
    os.utime(left, (0, 0))
    with work_folder() as mine:
        assert not left.exists()
        assert young.exists()
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        os.utime(mine, (0, 0))
        sweep(tmp_path)
        assert mine.exists()
    assert not mine.exists()
