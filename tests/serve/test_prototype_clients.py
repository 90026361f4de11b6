"""A client of each prototype's API, with the bodies and fields of that prototype's document."""

import asyncio
import base64
import json
import sys
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from live_server import NONE, live_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
import toys
from jobs_server import server

from stpe.rle import decode_mask


def jpeg(width=160, height=96):
    grey = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
    return cv2.imencode(".jpg", np.dstack([grey] * 3))[1].tobytes()


def has(answer, *fields):
    """The fields that the prototype's document names."""
    missing = [name for name in fields if name not in answer]
    assert not missing, missing


# tasks ---------------------------------------------------------------------------------------


@pytest.mark.weights
@pytest.mark.parametrize(
    ("task", "model", "options"),
    [
        ("object-detection", "yolo26n.pt", {"threshold": 0.3}),
        ("image-segmentation", "yolo26n-seg.pt", {"threshold": 0.3}),
        ("pose-estimation", "weights/yolo26n-pose.pt", {"threshold": 0.3}),
        ("sam3-concept-segmentation", "sam3.pt", {"text_prompt": "person, bicycle"}),
        ("depth-estimation", "depth-anything/DA3-LARGE", {}),
    ],
)
def test_tasks(live, task, model, options):
    picture = base64.b64encode(jpeg()).decode()
    for payload in (picture, f"data:image/jpeg;base64,{picture}"):
        body = {
            "task": task,
            "model": model,
            "payloadBase64": payload,
            "mimeType": "image/jpeg",
            "options": options,
        }
        response = httpx.post(f"{live.url}/infer", json=body, timeout=120)
        assert response.status_code == 200, response.text
        answer = response.json()
        has(answer, "task", "model", "results")
        assert answer["task"] == task
        (said,) = [w for w in answer["warnings"] if model in w]
        assert any(name in said for name in answer["model"].split("+"))
    health = httpx.get(f"{live.url}/health").json()
    assert health["status"] == "healthy"


@pytest.mark.weights
def test_a_model_that_is_here_may_be_named_by_its_file(live):
    answer = live.infer("object-detection", jpeg(), "image/jpeg", model="YOLOv4-tiny.pt")
    assert answer.warnings == []


# clips ---------------------------------------------------------------------------------------


@pytest.mark.weights
def test_clips(live):
    width, height = 64, 48
    frames = [np.full((height, width, 3), 8 * n, np.uint8).tobytes() for n in range(16)]
    body = {
        "frames": [base64.b64encode(frame).decode("utf-8") for frame in frames],
        "width": width,
        "height": height,
        "format": "BGR",
    }
    answer = httpx.post(f"{live.url}/api/v1/infer", json=body, timeout=120).json()
    has(answer, "predictions", "clip_id")
    assert len(answer["predictions"]) == 5
    has(answer["predictions"][0], "label", "confidence")
    has(httpx.get(f"{live.url}/health").json(), "status", "model_loaded")
    has(httpx.get(f"{live.url}/").json(), "service", "endpoints")


# sessions ------------------------------------------------------------------------------------


@pytest.mark.weights
def test_sessions(live, tmp_path):
    clip = toys.write_clip(tmp_path / "clip.mp4", seconds=2)
    api = f"{live.url}/api/v1/video"
    with httpx.Client(timeout=120) as http:
        upload = http.post(f"{live.url}/uploads", content=clip.read_bytes()).json()
        start = {"upload_id": upload["upload_id"], "gpu_ids": [0]}
        started = http.post(f"{api}/session/start", json=start).json()
        has(started, "session_id", "video_info")
        has(started["video_info"], "total_frames", "width", "height", "fps", "duration_s")
        info, session = started["video_info"], f"{api}/session/{started['session_id']}"

        text = {"type": "text", "text": "person in red shirt"}
        body = {"frame_index": 1, "prompts": [text]}
        answer = http.post(f"{session}/prompt", json=body)
        assert answer.status_code == 200, answer.text
        assert any("person in red shirt" in w for w in answer.json()["warnings"])

        box = {"type": "box", "box": [0.1, 0.1, 0.5, 0.5], "label": 1}
        body = {"frame_index": 1, "prompts": [box], "clear_old_prompts": True}
        prompted = http.post(f"{session}/prompt", json=body).json()
        has(prompted, "obj_id", "objects")
        assert any("clear_old_prompts" in w for w in prompted["warnings"])
        (found,) = prompted["objects"]
        has(found, "id", "mask", "mask_size", "box", "score")
        assert isinstance(found["mask"], str)
        assert found["mask_size"] == [info["height"], info["width"]]
        decoded = decode_mask({"size": found["mask_size"], "counts": found["mask"]})
        as_object = {"frame_index": 1, "prompts": [box], "mask_format": "coco"}
        again = http.post(f"{session}/prompt", json=as_object).json()["objects"][0]["mask"]
        assert np.array_equal(decode_mask(again), decoded)

        # what was answered can be sent
        for mask in (found["mask"], again):
            body = {"frame_index": 1, "prompts": [{"type": "mask", "mask": mask}]}
            sent = http.post(f"{session}/prompt", json=body).json()
            assert sent["objects"][0]["score"] == 1

        status = http.get(f"{session}/status").json()
        has(status, "session_id", "status", "current_objects", "video_info")
        assert status["status"] == "active"
        assert prompted["obj_id"] in status["current_objects"]
        for obj_id in status["current_objects"][1:]:
            http.delete(f"{session}/object/{obj_id}").raise_for_status()

        done = http.post(f"{session}/propagate", json={"max_frames": 3}).json()
        has(done, "results", "total_frames", "processing_time_ms")
        assert [r["frame_index"] for r in done["results"]] == [1, 2, 3, 0]  # both ways
        assert isinstance(done["results"][0]["objects"][0]["mask"], str)

        connect = pytest.importorskip("websockets.sync.client").connect
        with connect(
            f"{live.url.replace('http', 'ws')}/ws/propagate/{started['session_id']}"
        ) as ws:
            ws.send(json.dumps({"start_frame_index": 0, "max_frames": 2}))
            messages = [json.loads(ws.recv(60)) for _ in range(3)]
        assert [m["type"] for m in messages] == ["frame", "frame", "complete"]
        has(messages[0], "frame_index", "pts", "objects")

        assert http.get(f"{api}/sessions").json()["sessions"]
        http.post(f"{session}/reset").raise_for_status()
        assert http.delete(session).json()["memory_freed_mb"] > 0

        image = {
            "imageBase64": f"data:image/jpeg;base64,{base64.b64encode(jpeg()).decode()}",
            "prompts": [{"type": "point", "point": [0.5, 0.5], "label": 1}],
        }
        still = http.post(f"{live.url}/api/v1/image/segment", json=image).json()
        assert isinstance(still["objects"][0]["mask"], str)


def test_any_video_variable_is_accepted(tmp_path):
    variables = {
        "VIDEO_MODEL_ENABLED": "true",
        "VIDEO_MODEL_REQUIRED": "false",
        "VIDEO_MODEL_GPUS": "cuda:0,cuda:1",
        "VIDEO_MODEL_CHECKPOINT": "/models/sam3.pt",
        "VIDEO_MODEL_DTYPE": "bfloat16",
    }
    with live_server(tmp_path, STPE_SERVE_MODELS=NONE, **variables):
        log = (tmp_path / "server.log").read_text()
    assert "VIDEO_MODEL_CHECKPOINT" in log
    assert "VIDEO_MODEL_DTYPE" in log
    assert "Traceback" not in log


# jobs ----------------------------------------------------------------------------------------


@pytest.fixture
def runpod(tmp_path, monkeypatch):
    """RunPod's SDK with a server of ours as its base URL."""
    sdk = pytest.importorskip("runpod")
    with server(tmp_path) as running:
        monkeypatch.setattr(sdk, "endpoint_url_base", f"{running.http.base_url}/v2")
        monkeypatch.setattr(sdk, "api_key", "rp_key")
        sdk.running = running
        yield sdk


def test_jobs_by_the_sdk(runpod, tmp_path):
    clip = toys.write_clip(tmp_path / "clip.mp4", seconds=4)
    video = base64.b64encode(clip.read_bytes()).decode()
    endpoint = runpod.Endpoint("any-endpoint-id")
    job = endpoint.run({"operation": "process_video", "data": {"video_base64": video, "fps": 2}})
    output = job.output(timeout=60)
    has(output, "video_id", "num_frames", "clip_embedding", "num_tracks", "captions")
    has(output, "frame_details", "level_stats", "temporal_features_shape")
    assert job.status() == "COMPLETED"
    *progress, last = list(job.stream())
    assert last == output
    assert all({"progress", "stage"} == set(chunk) for chunk in progress)

    assert endpoint.run_sync({"input": {"operation": "list_videos"}})["count"] == 1
    failed = endpoint.run({"operation": "process_video", "data": {"video_base64": "%%%"}})
    assert failed.output(timeout=30) is None
    assert failed.status() == "FAILED"
    assert "base64" in failed._fetch_job()["error"]
    assert endpoint.run_sync({"operation": "mind_reading"}) is None

    health = endpoint.health()
    assert health["jobs"]["completed"] == 2
    assert health["jobs"]["failed"] == 2
    assert health["workers"]["idle"] == 3
    assert endpoint.purge_queue() == {"removed": 0, "status": "completed"}
    assert job.cancel()["status"] == "COMPLETED"  # too late

    base = f"{runpod.endpoint_url_base}/any"
    gone = httpx.get(f"{base}/status/nothing")
    assert gone.status_code == 404
    assert list(gone.json()) == ["error"]
    bad = httpx.post(f"{base}/run", content=b"{")
    assert bad.status_code == 400
    assert list(bad.json()) == ["error"]
    said = httpx.post(f"{base}/run", json={"input": {"operation": "health"}, "webhook": "x"}).json()
    assert "webhook" in said["warnings"][0]


def test_jobs_are_cancelled_and_purged_by_the_sdk(tmp_path, runpod):
    endpoint = runpod.Endpoint("e")
    clip = toys.write_clip(tmp_path / "clip.mp4", seconds=40)
    video = base64.b64encode(clip.read_bytes()).decode()
    data = {"video_base64": video, "fps": 20}
    first, *others = [endpoint.run({"operation": "process_video", **data}) for _ in range(3)]
    deadline = time.monotonic() + 30
    while first.status() == "IN_QUEUE":
        assert time.monotonic() < deadline
    assert endpoint.purge_queue()["removed"] == 2
    assert [one.status() for one in others] == ["CANCELLED"] * 2
    assert first.cancel()["status"] in ("CANCELLED", "COMPLETED")


def test_jobs_by_the_asynchronous_sdk(runpod):
    http_client = pytest.importorskip("runpod.http_client")

    async def ask():
        async with http_client.AsyncClientSession() as session:
            endpoint = runpod.AsyncioEndpoint("e", session)
            job = await endpoint.run({"operation": "list_videos"})
            assert await job.output(timeout=30) == {"videos": [], "count": 0}
            assert await job.status() == "COMPLETED"
            assert (await endpoint.health())["jobs"]["completed"] == 1

    asyncio.run(ask())
