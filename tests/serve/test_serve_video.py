"""Promptable video sessions over real HTTP and WebSocket, on real clips."""

import base64
import gc
import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from socket import create_connection, socket

import cv2
import numpy as np
import pytest
import uvicorn
from live_server import COMMAND, NONE, live_server

from stpe.client import Client, RequestFailedError
from stpe.evaluate.masks import region_similarity
from stpe.models.backends.composed.mask_propagation import Session
from stpe.rle import decode_mask, encode_mask
from stpe.serve.app import create_app
from stpe.video.isolated.frames import IsolatedFrames

pytestmark = pytest.mark.weights
connect = pytest.importorskip("websockets.sync.client").connect
ConnectionClosed = pytest.importorskip("websockets.exceptions").ConnectionClosed
API = "/api/v1/video"
#: STPE_SERVE_MODELS with only what sessions need, which is loaded sooner.
SEGMENTS = "clip_classifier=none,pose=none,depth=none,shot_detector=none"
UPLOADS_BYTES = 4_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory, shared_data):
    with live_server(
        tmp_path_factory.mktemp("video"),
        STPE_SERVE_MEDIA_ROOTS=str(shared_data),
        MAX_CONCURRENT_SESSIONS="4",
        SESSION_TIMEOUT_SECONDS="20",
        SESSION_CLEANUP_INTERVAL_SECONDS="1",
        STPE_SERVE_MODELS=SEGMENTS,
        VIDEO_SESSION_UPLOAD_BYTES=str(UPLOADS_BYTES),
        # It starts although the model takes longer than a request may wait.
        VIDEO_MODEL_REQUIRED="true",
        STPE_SERVE_MODEL_WAIT_SECONDS="0.5",
    ) as client:
        yield client


def post(server, path, body=None):
    return server.call("POST", path, json=body or {}).json()


def start(server, **source):
    return post(server, f"{API}/session/start", source)


def end(server, session):
    return server.call("DELETE", f"{API}/session/{session}").json()


def refused(status, call, *arguments, **more):
    with pytest.raises(RequestFailedError) as caught:
        call(*arguments, **more)
    assert caught.value.status == status, caught.value
    return str(caught.value)


def socket_of(server, session):
    return connect(f"ws://127.0.0.1:{server.port}/ws/propagate/{session}", max_size=None)


@pytest.fixture
def dog(server):
    """A session on a folder of JPEG frames."""
    started = start(server, video_path="davis2016/JPEGImages/480p/dog")
    assert started["video_info"]["total_frames"] == 60
    assert (started["video_info"]["width"], started["video_info"]["height"]) == (854, 480)
    yield started["session_id"]
    with suppress(RequestFailedError):
        end(server, started["session_id"])


def truth(shared_data, index):
    path = shared_data / f"davis2016/Annotations/480p/dog/{index:05d}.png"
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127


def test_mask_prompt_propagates_both_ways(server, dog, shared_data):
    answer = post(
        server,
        f"{API}/session/{dog}/prompt",
        {
            "frame_index": 20,
            "prompts": [{"type": "mask", "mask": encode_mask(truth(shared_data, 20))}],
        },
    )
    assert answer["obj_ids"] == [answer["obj_id"]] == [1]
    done = post(
        server,
        f"{API}/session/{dog}/propagate",
        {"start_frame_index": 20, "max_frames": 4, "mask_format": "coco"},  # both ways by default
    )
    assert [r["frame_index"] for r in done["results"]] == [20, 21, 22, 23, 19, 18, 17]
    assert done["total_frames"] == 7
    assert done["processing_time_ms"] > 0
    for result in done["results"]:
        (found,) = result["objects"]
        mask = decode_mask(found["mask"])
        assert region_similarity(truth(shared_data, result["frame_index"]), mask) > 0.8
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        assert np.allclose(found["box"], [x / 854, y / 480, width / 854, height / 480])
        assert 0.5 < found["score"] <= 1

    post(server, f"{API}/session/{dog}/reset")
    again = post(
        server,
        f"{API}/session/{dog}/prompt",
        {"frame_index": 0, "prompts": [{"type": "box", "box": [0.3, 0.2, 0.5, 0.7]}]},
    )
    assert again["obj_id"] == 2  # never one that was given before
    gone = server.call("DELETE", f"{API}/session/{dog}/object/2").json()
    assert gone["object_ids"] == []
    refused(404, server.call, "DELETE", f"{API}/session/{dog}/object/2")
    refused(422, post, server, f"{API}/session/{dog}/propagate", {"direction": "forward"})


def test_stream_of_a_text_prompt(server, shared_data, tmp_path):
    clip = next((shared_data / "plain_clips").glob("sam2_05*"))
    half = clip.stat().st_size // 2
    whole = clip.read_bytes()
    upload = server.call("POST", "/uploads", params={"total_bytes": len(whole)}).json()
    piece = {"upload_id": upload["upload_id"], "offset": 0}
    server.call("POST", "/uploads", params=piece, content=whole[:half])
    refused(409, start, server, upload_id=upload["upload_id"])
    refused(409, server.call, "POST", "/uploads", params=piece, content=b"x")
    there = server.call("GET", f"/uploads/{upload['upload_id']}").json()
    assert there["offset"] == half
    piece["offset"] = half
    assert server.call("POST", "/uploads", params=piece, content=whole[half:]).json()["complete"]

    started = start(server, upload_id=upload["upload_id"])
    session = started["session_id"]
    assert started["video_info"]["fps"] == pytest.approx(measured_fps(clip), rel=1e-3)
    named = post(
        server,
        f"{API}/session/{session}/prompt",
        {"frame_index": 0, "prompts": [{"type": "text", "text": "person"}]},
    )
    assert len(named["obj_ids"]) >= 1
    assert all(o["label"] == "person" for o in named["objects"])
    with socket_of(server, session) as stream:
        stream.send(json.dumps({"direction": "forward", "start_frame_index": 2, "max_frames": 3}))
        messages = [json.loads(stream.recv(60)) for _ in range(4)]
    assert [m["type"] for m in messages] == ["frame"] * 3 + ["complete"]
    assert [m["frame_index"] for m in messages[:3]] == [2, 3, 4]
    assert messages[0]["pts"] < messages[1]["pts"] < messages[2]["pts"]
    assert [o["id"] for o in messages[2]["objects"]] == named["obj_ids"]
    assert messages[3] == {
        "type": "complete", "total_frames": 3, "cancelled": False, "warnings": []
    }  # fmt: skip
    status = server.call("GET", f"{API}/session/{session}/status").json()
    assert status["memory_mb"] > 1
    assert end(server, session)["memory_freed_mb"] == pytest.approx(status["memory_mb"], rel=0.01)
    refused(404, server.call, "GET", f"{API}/session/{session}/status")
    refused(404, start, server, upload_id=upload["upload_id"])


def test_uploads_that_break_off_are_incomplete_and_removed_if_nobody_knows_them(server):
    most = UPLOADS_BYTES - 1000
    break_off(server, "", most)
    deadline = time.monotonic() + 30
    while True:  # until there is room again
        with suppress(RequestFailedError):
            whole = server.call("POST", "/uploads", content=bytes(most)).json()
            break
        assert time.monotonic() < deadline, "the broken upload stays"
    assert whole["complete"]
    server.call("DELETE", f"/uploads/{whole['upload_id']}")

    known = server.call("POST", "/uploads").json()["upload_id"]
    break_off(server, f"?upload_id={known}", 1000)
    while (there := server.call("GET", f"/uploads/{known}").json())["offset"] < 1000:
        assert time.monotonic() < deadline
    assert not there["complete"]
    refused(409, start, server, upload_id=known)
    rest = {"upload_id": known, "offset": 1000}
    assert server.call("POST", "/uploads", params=rest, content=b"x").json()["complete"]
    server.call("DELETE", f"/uploads/{known}")


def break_off(server, query, size):
    """Send so many bytes of an upload that announces more, and leave."""
    with create_connection(("127.0.0.1", server.port)) as sender:
        head = f"POST /uploads{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size + 9}"
        sender.sendall(f"{head}\r\n\r\n".encode() + bytes(size))
        time.sleep(0.2)


def measured_fps(path):
    import av

    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return float((len(times) - 1) / (times[-1] - times[0]))


def wait_for_state(server, session, state, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while server.call("GET", f"{API}/session/{session}/status").json()["state"] != state:
        assert time.monotonic() < deadline, f"it does not become {state}"
        time.sleep(0.1)


def test_cancel_and_leaving_stop_the_work(server, dog):
    prompts = [{"type": "point", "point": [0.5, 0.55], "label": 1}]
    post(server, f"{API}/session/{dog}/prompt", {"frame_index": 0, "prompts": prompts})
    with socket_of(server, dog) as stream:
        stream.send("{}")
        assert json.loads(stream.recv(60))["type"] == "frame"
        body = {"frame_index": 0, "prompts": prompts}
        refused(409, post, server, f"{API}/session/{dog}/prompt", body)
        stream.send(json.dumps({"type": "cancel"}))
        last = json.loads(stream.recv(60))
        while last["type"] == "frame":
            last = json.loads(stream.recv(60))
        assert last["type"] == "complete"
        assert last["cancelled"]
        assert last["total_frames"] < 40
    with socket_of(server, dog) as stream:
        stream.send("{}")
        stream.recv(60)
    wait_for_state(server, dog, "idle")

    with socket_of(server, dog) as stream:
        stream.send("{}")
        stream.recv(60)
        assert "memory_freed_mb" in end(server, dog)
        last = json.loads(stream.recv(60))
        while last["type"] == "frame":
            last = json.loads(stream.recv(60))
        assert last["type"] == "complete"
    with socket_of(server, dog) as stream:
        stream.send("{}")
        assert json.loads(stream.recv(60))["type"] == "error"


def test_others_stop_a_propagation_by_reset_only_and_it_says_so(server, dog):
    prompts = [{"type": "point", "point": [0.5, 0.55], "label": 1}]
    post(server, f"{API}/session/{dog}/prompt", {"frame_index": 0, "prompts": prompts})
    with socket_of(server, dog) as stream:
        stream.send("{}")
        stream.recv(60)
        with socket_of(server, dog) as other:
            other.send("{}")
            with suppress(ConnectionClosed):  # it is refused, perhaps already
                other.send(json.dumps({"type": "cancel"}))
        assert [json.loads(stream.recv(60))["type"] for _ in range(4)] == ["frame"] * 4
        stream.send(json.dumps({"type": "cancel"}))
    wait_for_state(server, dog, "idle")

    with ThreadPoolExecutor(1) as pool:
        late = {"start_frame_index": 50}  # it is stopped on the way there
        whole = pool.submit(refused, 409, post, server, f"{API}/session/{dog}/propagate", late)
        wait_for_state(server, dog, "busy")
        post(server, f"{API}/session/{dog}/reset")
        assert "stopped by a reset" in whole.result(60)


def test_image_by_box_point_text(server, people):
    path, rows = next((p, r) for p, r in people.items() if len(r) == 1)
    image = cv2.imread(str(path))
    height, width = image.shape[:2]
    x, y, w, h = rows[0]["bbox"]
    x, y, w, h = max(0, x), max(0, y), min(w, width - x), min(h, height - y)
    data = base64.b64encode(path.read_bytes()).decode()
    box = [x / width, y / height, w / width, h / height]
    answer = post(
        server,
        "/api/v1/image/segment",
        {"imageBase64": data, "mask_format": "coco", "prompts": [{"type": "box", "box": box}]},
    )
    (found,) = answer["objects"]
    assert decode_mask(found["mask"]).shape == (height, width)
    assert np.allclose(found["box"], box, atol=0.1)
    named = post(
        server,
        "/api/v1/image/segment",
        {"imageBase64": data, "prompts": [{"type": "text", "text": "people"}]},
    )
    assert named["objects"]


def test_refusals(server, dog):
    refused(403, start, server, video_path="/etc/passwd")
    refused(403, start, server, video_path="../../etc/passwd")
    refused(403, start, server, video_url="http://127.0.0.1:1/a.mp4")
    assert "davis2016" not in refused(422, start, server, video_path="davis2016/SOURCE.txt")
    refused(422, start, server)
    refused(404, server.call, "GET", f"{API}/session/none/status")
    prompt = f"{API}/session/{dog}/prompt"
    for wrong in (
        {"type": "mask", "mask": {"size": [480, 854], "counts": "oooo" * 50}},
        {"type": "mask", "mask": {"size": [480, 854], "counts": "1"}},
        {"type": "mask", "mask": {"size": [2, 2], "counts": "4"}},
        {"type": "box", "box": [0, 0, 2, 1]},
    ):
        refused(422, post, server, prompt, {"frame_index": 0, "prompts": [wrong]})
    unknown = {"frame_index": 0, "prompts": [{"type": "text", "text": "hippogriff"}]}
    answer = post(server, prompt, unknown)
    assert answer["obj_id"] is None
    assert "hippogriff" in answer["warnings"][0]
    text = {"type": "text", "text": "dog"}
    refused(422, post, server, prompt, {"frame_index": 99, "prompts": [text]})
    more = [start(server, video_path="davis2016/JPEGImages/480p/libby") for _ in range(3)]
    message = refused(503, start, server, video_path="davis2016/JPEGImages/480p/libby")
    assert "4 sessions" in message
    for one in more:
        end(server, one["session_id"])


def test_abandoned_sessions_end_by_themselves_and_leave_nothing(shared_data, monkeypatch):
    monkeypatch.setenv("STPE_SERVE_MEDIA_ROOTS", str(shared_data))
    monkeypatch.setenv("SESSION_TIMEOUT_SECONDS", "5")
    monkeypatch.setenv("SESSION_CLEANUP_INTERVAL_SECONDS", "0.2")
    monkeypatch.setenv("STPE_SERVE_MODELS", SEGMENTS)

    before = held()
    with server_of_this_process() as server:

        def abandon():
            session = start(server, video_path="davis2016/JPEGImages/480p/dog")["session_id"]
            body = {"frame_index": 0, "prompts": [{"type": "point", "point": [0.5, 0.5]}]}
            post(server, f"{API}/session/{session}/prompt", body)
            with socket_of(server, session) as stream:
                stream.send("{}")
                stream.recv(60)

        with ThreadPoolExecutor(3) as pool:
            for job in [pool.submit(abandon) for _ in range(3)]:
                job.result()
        wait_for_none(server)
        until = time.monotonic() + 60  # a session is off the list before its last thread has ended
        while len(held()) > len(before) and time.monotonic() < until:
            time.sleep(0.2)
        assert len(held()) == len(before)


@contextmanager
def server_of_this_process():
    """The same server in a thread, so that a test can look at what its sessions leave behind."""
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_level="warning"))
    running = threading.Thread(target=server.run)
    running.start()
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            client.port = port
            client.wait_ready(120)
            yield client
    finally:
        server.should_exit = True
        running.join(30)


def held():
    """Frames and sessions that something in this process refers to."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in (IsolatedFrames, Session)]


def wait_for_none(server):
    deadline = time.monotonic() + 60
    while server.call("GET", f"{API}/sessions").json()["sessions"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_sessions_can_be_required():
    required = {"STPE_SERVE_MODELS": NONE, "VIDEO_MODEL_REQUIRED": "true"}
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0"], env={**os.environ, **required}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no segmenter" in done.stderr
