"""Jobs over real HTTP against a server process of its own: queue, events, cancel, restart."""

import base64
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from stpe import open_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toys
from jobs_server import Server, server


def encoded(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Base64 of clips, none of them the same."""
    folder = tmp_path_factory.mktemp("clips")
    return [encoded(toys.write_clip(folder / f"{n}.mp4", seconds=12, seed=n)) for n in range(4)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    with server(tmp_path_factory.mktemp("quick")) as running:
        yield running


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Every window takes a while, so that a job can be caught at work."""
    limits = {"STPE_JOBS_MAX_QUEUED": "3", "STPE_SERVE_FETCH_NETWORKS": "127.0.0.0/8"}
    with server(tmp_path_factory.mktemp("slow"), pause_s=0.15, **limits) as running:
        yield running


def events(running, job_id, last=None, most=None):
    """(id, data) of the event stream until it ends, or until so many came."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    found, number = [], None
    with running.http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                found.append((number, json.loads(line[6:])))
                if len(found) == most:
                    break
    return found


def test_a_job_is_queued_followed_and_answered_in_both_shapes(quick, clips):
    sent = quick.run("process_video", wait=False, video_base64=clips[0], context="Seen: ")
    assert sent.status_code == 200
    job_id = sent.json()["id"]
    seen = events(quick, job_id, most=2)  # then the connection is lost
    rest = events(quick, job_id, last=seen[-1][0])
    whole = events(quick, job_id)
    assert seen + rest == whole
    assert [n for n, _ in whole] == list(range(len(whole)))
    assert whole[-1][1]["status"] == "COMPLETED"
    fractions = [e["progress"] for _, e in whole if e["progress"] is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert "storing" in {e["stage"] for _, e in whole}
    again = quick.http.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(whole[-1][0])})
    assert again.status_code == 204

    status = quick.http.get(f"/status/{job_id}").json()
    job = quick.http.get(f"/jobs/{job_id}").json()
    assert status["status"] == "COMPLETED"
    assert job["status"] == "completed"
    output = status["output"]
    assert job["result"] == {"output": output}
    assert status["executionTime"] > 0
    dataset = open_dataset(quick.folder / "dataset")
    frames = dataset.arrow("frames", output["video_id"])
    assert output["num_frames"] == frames.num_rows == 24
    assert [f["timestamp"] for f in output["frame_details"]] == frames["pts"].to_pylist()
    assert output["captions"]["summary"].startswith("Seen: ")
    assert output["level_stats"]["level2_objects"]["total_objects_detected"] > 0
    assert output["clip_embedding"] is None  # no toy makes one, and none is invented

    analysis = quick.run("get_analysis", video_id=output["video_id"]).json()["output"]
    assert analysis["stats"]["num_frames"] == 24
    assert analysis["frame_details"] == output["frame_details"]
    listed = quick.run("list_videos").json()["output"]
    assert output["video_id"] in {v["video_id"] for v in listed["videos"]}


def test_what_is_answered_is_chosen(quick, clips):
    output = quick.run(
        "process_video",
        video_base64=f"data:video/mp4;base64,{clips[0]}",
        fps=1,
        caption_interval=5,
        caption_granularities=["brief"],
        include_frame_embeddings=True,
        include_frame_details=False,
        processing_resolution=[32, 24],
    ).json()["output"]
    assert output["num_frames"] == 12
    assert output["processing_resolution"] == [32, 24]
    captions = output["dense_captions"]["frame_captions"]
    assert [c["frame_idx"] for c in captions] == [0, 5, 10]
    assert [list(c["captions"]) for c in captions] == [["brief"]] * 3
    assert [len(e) for e in output["frame_embeddings"]] == [1] * 12
    assert output["frame_details"] is None
    flat = {"operation": "process_video", "video_base64": clips[0], "generate_captions": False,
            "dense_captions": False}  # fmt: skip
    output = quick.http.post("/runsync", json={"input": flat}).json()["output"]
    assert output["captions"] is output["dense_captions"] is None


def test_a_zip_of_frames_and_states_keeps_the_rate_it_was_recorded_at(quick):
    def picture(number):
        out = io.BytesIO()
        with av.open(out, "w", format="image2pipe") as container:
            stream = container.add_stream("png")
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
            image = np.full((48, 64, 3), number * 5, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(stream.encode())
        return out.getvalue()

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(1, 41):
            archive.writestr(f"frame_{n:04d}/frame_{n:04d}.png", picture(n))
            state = {"humanoid_state": "Running", "hrp": {"speed": 16}, "inputs": ["W"]}
            archive.writestr(f"frame_{n:04d}/frame_{n:04d}.json", json.dumps(state))
    data = {"zip_base64": base64.b64encode(packed.getvalue()).decode()}
    answers = {
        rate: quick.run("process_extracted_frames", **data, fps=10, source_fps=rate).json()[
            "output"
        ]
        for rate in (20, 40)
    }
    for rate, output in answers.items():
        times = [f["timestamp"] for f in output["frame_details"]]
        assert times == pytest.approx([i / 10 for i in range(400 // rate)])
        assert output["source_type"] == "extracted_frames"
        assert output["frame_details"][3]["roblox_metadata"]["hrp"] == {"speed": 16}
        assert output["metadata_stats"]["humanoid_states"] == ["Running"]
        assert output["metadata_stats"]["has_inputs"] is True
    assert answers[20]["video_id"] == answers[40]["video_id"]


def test_what_is_wrong_is_a_4xx_of_its_own(quick, clips):
    run = quick.run
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../outside.txt", "x")
    notes = base64.b64encode(zipped.getvalue()).decode()
    text = base64.b64encode(b"this is no video at all").decode()
    wrong = [
        (run("process_video", wait=False), 422),
        (run("process_video", wait=False, video_base64="%%%"), 422),
        (run("process_video", wait=False, video_base64=clips[0], video_url="http://x/"), 422),
        (run("process_video", wait=False, video_url="file:///etc/passwd"), 422),
        (run("process_video", wait=False, video_url="http://127.0.0.1:9/a.mp4"), 403),
        (run("process_video", wait=False, video_url="http://localhost:9/a.mp4"), 403),
        (run("process_video", wait=False, video_base64=clips[0], fps=0), 422),
        (run("process_video", wait=False, video_base64=clips[0], processing_resolution=[1]), 422),
        (run("nonsense", wait=False), 422),
        (run("get_analysis", video_id="../../etc/passwd"), 422),
        (run("get_analysis", video_id="0" * 16), 404),
        (run("process_video", video_base64=text), 422),
        (run("process_extracted_frames", zip_base64=notes), 422),
        (run("embed_image", image_base64=text), 422),
        (quick.http.get("/status/nothing"), 404),
        (quick.http.get("/jobs/nothing"), 404),
        (quick.http.get("/jobs/nothing/events"), 404),
        (quick.http.post("/cancel/nothing"), 404),
        (quick.http.post("/run", content=b'{"input": {"operation": "process_video", "data": '
                         b'{"video_base64": "AAAA", "fps": NaN}}}'), 422),
        (quick.http.post("/jobs/submit", json=[]), 422),
    ]  # fmt: skip
    for response, status in wrong:
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["error"] == problem["detail"]
        assert "Traceback" not in response.text
        assert "/tmp" not in response.text
    failed = run("process_video", wait=False, video_base64=text).json()["id"]
    job = quick.until(failed, "FAILED")
    assert job["error"]
    assert "output" not in job
    assert quick.http.get(f"/jobs/{failed}").json()["status"] == "failed"


def test_the_same_key_again_is_the_same_job(quick, clips):
    headers = {"Idempotency-Key": "film-1"}
    with ThreadPoolExecutor(4) as pool:
        sent = [
            pool.submit(
                quick.run, "process_video", wait=False, video_base64=clips[1], headers=headers
            )
            for _ in range(8)
        ]
        assert len({s.result().json()["id"] for s in sent}) == 1
    other = quick.run("health", wait=False, headers=headers)
    assert other.status_code == 409
    assert "another request" in other.json()["error"]
    body = {"operation": "process_video", "data": {"video_base64": clips[1]}}
    job = quick.http.post("/jobs/submit", json=body, headers=headers).json()
    assert job["job_id"] == sent[0].result().json()["id"]
    quick.until(job["job_id"], "COMPLETED")


def test_cancelling_stops_the_work_at_once_and_stores_nothing(slow, clips):
    job_id = slow.run("process_video", wait=False, video_base64=clips[2]).json()["id"]
    slow.until(job_id, "IN_PROGRESS")
    time.sleep(1)
    begun = time.monotonic()
    answer = slow.http.post(f"/cancel/{job_id}")
    assert answer.json()["status"] == "CANCELLED"
    moment = slow.run("memory_stats")  # what takes a moment does not wait behind films
    assert moment.json()["output"]["resident_gb"] > 0
    following = slow.run("process_video", wait=False, video_base64=clips[3]).json()["id"]
    slow.until(following, "IN_PROGRESS")  # so the thread is free again
    assert time.monotonic() - begun < 30
    assert events(slow, job_id)[-1][1]["status"] == "CANCELLED"
    assert slow.http.post(f"/cancel/{job_id}").json()["status"] == "CANCELLED"
    slow.http.post(f"/cancel/{following}")
    made = slow.folder / "dataset"
    assert not made.exists() or open_dataset(made).videos == ()


def test_a_download_stops_with_its_job(slow, clips):
    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            for _ in range(300):
                try:
                    self.wfile.write(b"x" * 100)
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{web.server_port}/film.mp4"
        sent = slow.run("process_video", wait=False, video_url=url)
        assert sent.status_code == 200, sent.text
        job_id = sent.json()["id"]
        deadline = time.monotonic() + 20
        while slow.http.get(f"/status/{job_id}").json().get("stage") != "fetching the source":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        slow.http.post(f"/cancel/{job_id}")
        begun = time.monotonic()
        following = slow.run("process_video", wait=False, video_base64=clips[3]).json()["id"]
        slow.until(following, "IN_PROGRESS")
        assert time.monotonic() - begun < 15  # of the 30 that the download takes
        slow.http.post(f"/cancel/{following}")
    finally:
        web.shutdown()
        web.server_close()


def test_a_full_queue_says_when_to_come_again(slow, clips):
    sent = [slow.run("process_video", wait=False, video_base64=clips[2]) for _ in range(6)]
    accepted = [s.json()["id"] for s in sent if s.status_code == 200]
    refused = [s for s in sent if s.status_code != 200]
    assert 3 <= len(accepted) <= 4
    assert {s.status_code for s in refused} == {429}
    assert all(int(s.headers["retry-after"]) >= 1 for s in refused)
    for job_id in accepted:
        slow.http.post(f"/cancel/{job_id}")


def test_jobs_survive_the_death_of_the_server(tmp_path, clips):
    first = Server(tmp_path, pause_s=0.1, TOY_LEASE_S="3").start()
    running = first.run("process_video", wait=False, video_base64=clips[0]).json()["id"]
    waiting = first.run("process_video", wait=False, video_base64=clips[1]).json()["id"]
    first.until(running, "IN_PROGRESS")
    artifacts = tmp_path / "dataset" / "artifacts"
    deadline = time.monotonic() + 30
    while len(list(artifacts.glob("*/*.arrow"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    made = set(artifacts.glob("*/*.arrow"))
    assert made
    times = {path: path.stat().st_mtime_ns for path in made}

    with server(tmp_path) as second:
        for job_id in (running, waiting):
            job = second.until(job_id, "COMPLETED", "FAILED")
            assert job["status"] == "COMPLETED", job
        assert {path: path.stat().st_mtime_ns for path in made} == times  # nothing made twice
        statuses = [e["status"] for _, e in events(second, running)]
        assert "IN_QUEUE" in statuses[statuses.index("IN_PROGRESS") :]
        count = second.run("list_videos").json()["output"]["count"]
        assert count == len(open_dataset(tmp_path / "dataset").videos) == 2


def test_a_server_that_is_asked_to_end_gives_its_job_back(tmp_path, clips):
    first = Server(tmp_path, pause_s=0.1).start()
    job_id = first.run("process_video", wait=False, video_base64=clips[0]).json()["id"]
    first.until(job_id, "IN_PROGRESS")
    first.stop()
    left = sqlite3.connect(tmp_path / "jobs.sqlite3")
    assert left.execute("SELECT status, attempts FROM stpe_jobs").fetchall() == [("IN_QUEUE", 0)]
    left.close()
    with server(tmp_path) as second:
        second.until(job_id, "COMPLETED")


def test_runpods_own_server_runs_the_handler(tmp_path, quick, clips):
    pytest.importorskip("runpod", reason="the runpod package is not installed")
    # As the image has it; a worker listens nowhere, so it needs no key.
    with server(tmp_path, kind="runpod", STPE_SERVE_HOST="0.0.0.0") as worker:
        mine = worker.run("process_video", video_base64=clips[0], context="Seen: ").json()
        assert mine["status"] == "COMPLETED"
        theirs = quick.run("process_video", video_base64=clips[0], context="Seen: ").json()
        assert mine["output"] == theirs["output"]
        assert worker.run("health").json()["output"]["status"] == "healthy"
        failed = worker.run("process_video", video_url="http://127.0.0.1:9/a.mp4").json()
        assert failed["status"] == "FAILED"
        assert "open internet" in failed["error"]
        flat = {"input": {"operation": "list_videos"}}
        assert worker.http.post("/runsync", json=flat).json()["output"]["count"] == 1


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the pages name."""
    for name in ("clip.mp4", "film.mp4"):
        toys.write_clip(tmp_path / name, seconds=3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(page, language, running):
    """Code of a page in one language, for this server."""
    text = (Path(__file__).resolve().parents[2] / "docs" / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return [code.replace("http://127.0.0.1:8000", str(running.http.base_url)) for code in found]


def test_the_examples_of_the_documentation_run(quick, desk, monkeypatch, capsys):
    over_http, in_process = written("jobs.md", "python", quick)
    exec(over_http, {})
    said = capsys.readouterr().out
    assert "COMPLETED 1.0" in said
    assert "num_frames" in said
    (client,) = written("serving.md", "py", quick)
    exec(client, {})
    assert "COMPLETED 1.0" in capsys.readouterr().out
    sdk = pytest.importorskip("runpod")
    for name in ("endpoint_url_base", "api_key"):
        monkeypatch.setattr(sdk, name, None)
    (by_sdk,) = written("jobs.md", "py", quick)
    exec(by_sdk, {})
    assert "embedding" in capsys.readouterr().out
    monkeypatch.setenv("STPE_SERVE_PROFILE", "embedded")
    monkeypatch.setenv("STPE_JOBS_DATASET", str(desk / "dataset"))
    exec(in_process, {})
    assert "healthy" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("jq") or not shutil.which("curl"), reason="needs curl and jq")
def test_the_commands_of_the_documentation_run(quick, desk):
    block = written("jobs.md", "sh", quick)[0].replace("stpe serve &", "")
    begin, after = block.split("\n\ncurl", 1)
    sent = json.loads(typed(begin))
    assert sent["operation"] == "process_video"
    quick.until(sent["id"], "COMPLETED")
    steps, _ = after.split("# the prototype's way of sending")  # which fetches from the internet
    server = begin.splitlines()[1]
    said = typed(f"{server}\ncurl{steps}".replace("62fa24...", sent["id"]))
    assert said.count(sent["id"]) > 3
    assert "data: {" in said
    assert '"dim":384' in said


def typed(script):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
