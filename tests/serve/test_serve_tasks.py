"""`POST /infer` over HTTP with the embedded models: every task, on images with known truth."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from stpe.client import RequestFailedError

pytestmark = pytest.mark.weights


def iou(a, b):
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    shared = max(0, x1 - x0) * max(0, y1 - y0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def xyxy(annotation):
    x, y, w, h = annotation["bbox"]
    return [x, y, x + w, y + h]


def largest(people):
    """An image and its largest person, with joints."""
    path, rows = next((p, r) for p, r in people.items() if "785" in p.name)
    return path, max(rows, key=lambda row: row["bbox"][2] * row["bbox"][3])


def decoded(mask):
    return coco.decode({"size": list(mask.size), "counts": mask.counts.encode()}).astype(bool)


def mp4(frames, fps=30):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def panned(people):
    """A clip in which the camera alone moves: everything goes 4 pixels a frame to the left."""
    path, _ = largest(people)
    image = cv2.imread(str(path))
    return mp4([np.ascontiguousarray(image[:416, 4 * i : 4 * i + 560]) for i in range(14)])


def test_detection_finds_the_people_that_are_there(live, people):
    for path, rows in people.items():
        answer = live.infer("object-detection", path)
        assert answer.model == "yolov4-tiny"
        assert all(found.score >= 0.3 for found in answer.results)
        boxes = [found.box for found in answer.results if found.label == "person"]
        wanted = [xyxy(row) for row in rows if row["bbox"][2] * row["bbox"][3] > 9000]
        hit = [any(iou(box, truth) > 0.5 for box in boxes) for truth in wanted]
        assert np.mean(hit) >= 0.5, (path, hit)


def test_segmentation_masks_are_rle_of_the_image_and_cover_the_person(live, people):
    path, row = largest(people)
    answer = live.infer("image-segmentation", path, threshold=0.5)
    best = max(
        (f for f in answer.results if f.label == "person"), key=lambda f: iou(f.box, xyxy(row))
    )
    mask = decoded(best.mask)
    assert mask.shape == (answer.height, answer.width)
    y0, y1 = (round(v) for v in best.box[1::2])
    assert mask.any()
    assert not np.delete(mask, np.s_[y0:y1], axis=0).any()
    outline = coco.frPyObjects(row["segmentation"], answer.height, answer.width)
    truth = coco.decode(coco.merge(outline)).astype(bool)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.6


def test_pose_puts_joints_where_annotators_did(live, people):
    path, row = largest(people)
    answer = live.infer("pose-estimation", path)
    person = max(answer.results, key=lambda p: iou(p.box, xyxy(row)))
    joints = {joint.name: joint for joint in person.keypoints}
    assert len(joints) == 17
    truth = np.array(row["keypoints"], float).reshape(17, 3)
    size = np.sqrt(row["bbox"][2] * row["bbox"][3])
    gaps = [
        np.hypot(j.x - x, j.y - y) / size
        for j, (x, y, seen) in zip(person.keypoints, truth, strict=True)
        if seen == 2
    ]
    assert np.median(gaps) < 0.05


def test_depth_is_a_png_that_gives_the_range_back(live, people):
    path, _ = largest(people)
    answer = live.infer("depth-estimation", path)
    depth = answer.results[0]
    png = cv2.imdecode(
        np.frombuffer(base64.b64decode(depth.png_base64), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert png.dtype == np.uint16
    assert png.shape == (answer.height, answer.width)
    assert (png.min(), png.max()) == (0, 65535)
    assert 0 < depth.minimum < depth.maximum
    assert depth.unit == "relative"
    top, bottom = png[: len(png) // 4].mean(), png[-len(png) // 4 :].mean()
    assert top > bottom  # the slope before the camera is nearer than the wood behind


def test_concepts_are_mapped_and_what_cannot_be_is_said(live, people):
    path, row = largest(people)
    answer = live.infer("sam3-concept-segmentation", path, text_prompt="people, dragon")
    assert {m.concept: m.labels for m in answer.concepts} == {"people": ["person"], "dragon": []}
    assert any("dragon" in warning for warning in answer.warnings)
    assert {found.label for found in answer.results} == {"people"}
    assert max(iou(found.box, xyxy(row)) for found in answer.results) > 0.6
    assert all(found.object_id is None for found in answer.results)


def test_concepts_of_a_video_keep_their_identity(live, panned):
    answer = live.infer(
        "sam3-concept-segmentation", panned, "video/mp4", text_prompt="person", max_frames=4
    )
    assert answer.video.frames_analysed == 4
    assert answer.video.truncated
    best = max(answer.results, key=lambda found: len(found.observations))
    assert [o.frame_index for o in best.observations] == [0, 1, 2, 3]
    assert np.allclose([o.pts for o in best.observations], np.arange(4) / 30, atol=1e-3)
    assert decoded(best.observations[0].mask).shape == (416, 560)


def test_velocity_is_that_of_the_scene_and_none_of_it_the_objects(live, panned):
    answer = live.infer(
        "velocity-estimation", panned, "video/mp4", meter_per_pixel=0.1, max_pairs=10, imgsz=560
    )
    assert answer.video.frames_analysed == 14
    assert not answer.video.truncated
    person = max(answer.results, key=lambda found: len(found.observations))
    assert person.label == "person"
    assert np.allclose(person.velocity_px_s, [-120, 0], atol=8)
    assert np.allclose(person.velocity_m_s, np.array(person.velocity_px_s) * 0.1)
    assert person.object_speed_px_s < 12
    known = [o.velocity_px_s is not None for o in person.observations]
    assert known == [False] + [True] * 10 + [False] * (len(known) - 11)


def test_concurrent_images_share_model_calls_and_change_no_answer(live, people):
    def ask(path):
        return live.infer("object-detection", path).results

    alone = {path: ask(path) for path in people}
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, list(people) * 8))
    assert together == [alone[path] for path in list(people) * 8]
    text = live.call("GET", "/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures['stpe_batch_size_sum{role="detector"}']) > float(
        figures['stpe_batch_size_count{role="detector"}']
    )
    assert float(figures['stpe_task_seconds_count{stage="infer",task="object-detection"}']) >= 32
    assert float(figures["stpe_memory_resident_bytes"]) > 1e8


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"task": "mind-reading"}, 422, "object-detection"),
        ({"mimeType": "image/png"}, 415, "image/jpeg"),
        ({"mimeType": "video/mp4"}, 415, "image/webp"),
        ({"options": {"threshold": 7}}, 422, "threshold"),
        ({"task": "sam3-concept-segmentation"}, 422, "text_prompt"),
        ({"task": "velocity-estimation"}, 415, "video/mp4"),
    ],
)
def test_wrong_requests_say_what_would_be_right(live, people, body, status, says):
    path, _ = largest(people)
    good = {
        "task": "object-detection",
        "payloadBase64": base64.b64encode(path.read_bytes()).decode(),
        "mimeType": "image/jpeg",
        "options": {},
    }
    with pytest.raises(RequestFailedError) as failed:
        live.call("POST", "/infer", json={**good, **body})
    assert failed.value.status == status
    assert says in failed.value.problem["detail"]
    assert failed.value.problem["error"] == failed.value.problem["detail"]


def test_options_that_do_nothing_are_named(live, people):
    path, _ = largest(people)
    answer = live.infer("object-detection", path, model="yolov4-tiny", colour="red")
    assert any("colour" in warning for warning in answer.warnings)
