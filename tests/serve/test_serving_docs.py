"""The examples of docs/serving.md and docs/sessions.md, run as they are written."""

import json
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import av
import cv2
import pytest

pytestmark = pytest.mark.weights
DOCS = Path(__file__).resolve().parents[2] / "docs"
WRITTEN = "http://127.0.0.1:8000"
#: What the page writes for ids, and the field that they come in.
NAMED = {"6f...": "upload_id", "c1...": "session_id"}


@pytest.fixture
def desk(live, shared_data, tmp_path, monkeypatch):
    """A folder with the files that the examples name."""
    street = next((shared_data / "coco_person_mini").rglob("*.jpg"))
    shutil.copy(street, tmp_path / "street.jpg")
    (tmp_path / "frames").mkdir()
    film = shared_data / "plain_clips" / "sam2_05_default_juggle.mp4"
    with av.open(str(film)) as source:
        frames = islice(source.decode(video=0), 16)
        images = [f.to_ndarray(width=320, height=180, format="bgr24") for f in frames]
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / "frames" / f"{number:03}.jpg"), image)
    write(tmp_path / "clip.mp4", images)
    write(tmp_path / "short.mp4", images[:3])  # following objects takes a while
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "street.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, images):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for image in images:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        out.mux(stream.encode())


def blocks(page, language):
    """Code of a page in one language; "" for blocks that name none."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


def test_python(live, desk, capsys):
    ran = 0
    for page in ("serving.md", "sessions.md"):
        if page == "sessions.md":
            shutil.copy("short.mp4", "clip.mp4")
        for code in blocks(page, "python"):
            code = code.replace(WRITTEN, live.url).replace("127.0.0.1:8000", live.url[7:])
            exec(compile(code, page, "exec"), {})
            assert capsys.readouterr().out
            ran += 1
    assert ran == 3


def shell(script):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on the PATH")
def test_curl_for_tasks_and_clips(live, desk):
    posted = [b for b in blocks("serving.md", "") if "curl -s " in b]
    task, clip = (re.split(r"^\{\"predictions", b, flags=re.M)[0] for b in posted)
    answer = json.loads(shell(task.replace(WRITTEN, live.url)))
    assert answer["task"] == "sam3-concept-segmentation"
    assert {c["concept"] for c in answer["concepts"]} == {"person", "bicycle"}
    answer = json.loads(shell(clip.replace(WRITTEN, live.url)))
    assert len(answer["predictions"]) == 5


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on the PATH")
def test_curl_for_a_session(live, desk):
    shutil.copy("short.mp4", "clip.mp4")
    (block,) = blocks("sessions.md", "bash")
    block = block.replace(WRITTEN, live.url).replace('"text": "dog"', '"text": "person"')
    set_up, *steps = re.split(r"^(?=# )", block, flags=re.M)
    ids, answers = {}, []
    for step in steps:
        for written, known in ids.items():
            step = step.replace(written, known)
        step = re.sub(r"^ID=c1.*$", "", step, flags=re.M)
        if "curl" in step:
            answers.append(shell(f"{set_up}\nID={ids.get('c1...', '')}\n{step}"))
            said = json.loads(answers[-1])
            ids |= {w: said[k] for w, k in NAMED.items() if k in said}
    assert len(answers) == 7
    assert all("error" not in json.loads(answer) for answer in answers)
    assert json.loads(answers[-3])["total_frames"] > 0


def test_metrics(live):
    """The page lists exactly the metrics that there are."""
    text = live.call("GET", "/metrics").text
    there = set(re.findall(r"^# TYPE (stpe_\w+) (?:counter|gauge|histogram)$", text, re.M))
    there = {n.removesuffix("_total") for n in there if not n.endswith("_created")}
    written = re.findall(r"`(stpe_\w+)`", (DOCS / "serving.md").read_text())
    assert set(written) == there
