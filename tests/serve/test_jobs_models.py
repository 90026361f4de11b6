"""Every operation with the embedded models, over real HTTP."""

import base64
import io
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from jobs_server import Jobs

pytestmark = pytest.mark.weights

WIDTH, HEIGHT = 192, 144


def picture(x):
    """A red block on a smooth ground."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([80 + columns // 4, 90 + rows // 3, 120 + 0 * rows], -1).astype(np.uint8)
    image[50:100, x : x + 40] = (210, 40, 30)
    return image


def encoded(codec, images, **options):
    out = io.BytesIO()
    kind = "mp4" if codec == "libx264" else "image2pipe"
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = options["pix_fmt"]
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture(scope="module")
def running(live):
    return Jobs(live.url)


def test_every_operation_answers_with_the_embedded_models(running):
    first = encoded("png", [picture(10)], pix_fmt="rgb24")
    second = encoded("png", [picture(110)], pix_fmt="rgb24")

    def ask(operation, **data):
        response = running.run(operation, **data)
        assert response.status_code == 200, response.text
        return response.json()["output"]

    assert ask("health")["models"]["image_embedder"]
    assert ask("memory_stats")["resident_gb"] > 0.05
    vectors = [np.array(ask("embed_image", image_base64=i)["embedding"]) for i in (first, second)]
    assert [np.linalg.norm(v) for v in vectors] == pytest.approx([1, 1], abs=1e-5)
    one = ask("embed_image", image_base64=first)
    assert one["dinov3_embedding"] == one["embedding"]
    assert one["dim"] == len(one["embedding"])
    near, same, far = (
        np.array(ask("embed_text", text=t)["embedding"])
        for t in ("a dog runs on grass", "a puppy is running over the lawn", "tax law of 1954")
    )
    assert near @ same > near @ far
    compared = ask("compare_frames", frame1_base64=first, frame2_base64=second)
    assert compared["similarity"] == pytest.approx(float(vectors[0] @ vectors[1]), abs=0.02)
    assert compared["description"]
    told = ask("caption", image_base64=first, detail_level="brief")
    assert told["caption"] == told["captions"]["brief"] != ""
    frame = ask("process_frame", image_base64=first)
    assert (frame["frame_width"], frame["frame_height"]) == (WIDTH, HEIGHT)
    assert frame["num_objects"] == len(frame["objects"])
    image = ask("process_image", image_base64=first)
    assert image["num_frames"] == 1
    assert image["clip_embedding"] == pytest.approx(frame["embedding"], abs=1e-6)
    assert image["frame_details"][0]["num_objects"] == frame["num_objects"]

    clip = encoded("libx264", [picture(10 + 8 * i) for i in range(12)], pix_fmt="yuv420p")
    video = ask("process_video", video_base64=clip, fps=5, include_frame_embeddings=True)
    assert video["num_frames"] == 6
    assert np.linalg.norm(video["clip_embedding"]) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(video["frame_embeddings"], axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    assert video["temporal_features_shape"] == [6, len(video["clip_embedding"])]
    assert video["level_stats"]["level3_dense"]["frames_with_dense"] == 6
    found = [d["num_objects"] for d in video["frame_details"]]
    assert video["level_stats"]["level2_objects"]["total_objects_detected"] == sum(found) > 0
    assert all(c["captions"]["normal"] for c in video["dense_captions"]["frame_captions"])
    analysis = ask("get_analysis", video_id=video["video_id"])
    assert analysis["summary"] == video["captions"]["summary"] != ""
    assert video["video_id"] in {v["video_id"] for v in ask("list_videos")["videos"]}


def test_real_models_stop_soon_after_a_job_is_cancelled(running):
    clip = encoded("libx264", [picture(i % 140) for i in range(300)], pix_fmt="yuv420p")
    before = running.run("list_videos").json()["output"]["count"]
    job_id = running.run("process_video", wait=False, video_base64=clip, fps=10).json()["id"]
    running.until(job_id, "IN_PROGRESS")
    time.sleep(1)
    answer = running.http.post(f"/cancel/{job_id}")
    assert answer.json()["status"] == "CANCELLED"
    short = encoded("libx264", [picture(5)] * 3, pix_fmt="yuv420p")
    begun = time.monotonic()
    following = running.run("process_video", wait=False, video_base64=short).json()["id"]
    running.until(following, "IN_PROGRESS", "COMPLETED")
    assert time.monotonic() - begun < 15  # one model call a core, on a busy machine
    running.until(following, "COMPLETED")
    assert running.run("list_videos").json()["output"]["count"] == before + 1
