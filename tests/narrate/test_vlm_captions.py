"""A captioner's text beside the facts, asked through a real local endpoint."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine

NONE = dict.fromkeys(
    ("detector", "segmenter", "image_embedder", "depth", "pose", "shot_detector"), "none"
)


class Endpoint(ThreadingHTTPServer):
    """An OpenAI-compatible server: answers in turn, keeps what it was asked."""

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = answers, []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        text = self.server.answers[len(self.server.asked) - 1]
        data = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def clip(tmp_path):
    """Two seconds of a still picture, and a log of a figure that walks."""
    video = tmp_path / "still.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    image = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    walk = {"humanoid_state": "Running", "hrp": {"speed": 16.0}, "inputs": ["W"]}
    log = tmp_path / "log.json"
    log.write_text(json.dumps([{"frame": n, **walk} for n in range(40)]))
    return video, log


def answer(**texts):
    return json.dumps({"normal": "n", "detailed": "d", **texts})


def test_text_stands_beside_facts_and_contradictions_are_flagged(clip, tmp_path):
    video, log = clip
    answers = [
        answer(brief="A figure walks.", detailed="The camera is static."),
        answer(brief="The character is dancing.", normal="It dances well."),
        " ",
        answer(brief="The camera pans to the left."),
    ]
    with Endpoint(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1#tiny"
        models = {**NONE, "flow": "dis", "captioner": url}
        wanted = ["frames.caption_normal", "frames.vlm_brief", "frames.vlm_contradictions",
                  "frames.camera_motion"]  # fmt: skip
        with Engine("embedded", models, workers=2) as engine:
            engine.process(video, tmp_path / "ds", signals=wanted, state=log, context="a test walk")
        server.shutdown()
        thread.join()
    rows = open_dataset(tmp_path / "ds").arrow("frames").to_pylist()
    assert len(server.asked) == len(rows) == 4  # one generation a frame gives three levels
    asked = [body["messages"][1]["content"][-1]["text"] for body in server.asked]
    assert "the character is running at 16 studs/s (walking pace)" in asked[0]
    assert "a test walk" in asked[0]
    assert "Said then" not in asked[0]
    assert "Said then: It dances well." in asked[2]
    assert (
        "Measured then: According to the game state (not verified to be of this video), "
        in asked[1]
    )
    assert [row["vlm_brief"] for row in rows] == [
        "A figure walks.",
        "The character is dancing.",
        None,
        "The camera pans to the left.",
    ]
    assert json.loads(rows[0]["vlm_contradictions"]) == []
    (dance,) = json.loads(rows[1]["vlm_contradictions"])
    assert dance["kind"] == "activity"
    assert dance["fact"] == "activity of the character: Running"
    assert dance["row"] == {"table": "frames", "frame_index": rows[1]["frame_index"]}
    assert rows[2]["vlm_contradictions"] is None
    (pan,) = json.loads(rows[3]["vlm_contradictions"])
    assert pan["kind"] == "camera"
    assert all("running" in row["caption_normal"] for row in rows)


def test_without_a_captioner_it_says_why(clip, tmp_path):
    with Engine("embedded", {**NONE, "flow": "dis"}, workers=1) as engine:
        plan = engine.plan(signals=["frames.caption_normal", "frames.vlm_normal"])
    assert "captioner" in plan.absent["vlm_captions"]
    assert "captions" in [node.name for node in plan.nodes]
