"""What was not asked for is not made, and what does not change is not asked about again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from stpe import Engine, open_dataset
from stpe.models.remembering import remembering
from stpe.models.roles import BoxPoseEstimator, Depth, DepthEstimator, PoseEstimator


class _Counting:
    """A depth model that counts how often it is asked, slowly."""

    def __init__(self):
        self.asked = 0
        self._lock = threading.Lock()

    def depth(self, images):
        with self._lock:
            self.asked += 1
        time.sleep(0.01)
        return [Depth(image.astype(np.float32).mean(2), "relative", 0.5) for image in images]

    def close(self):
        raise AssertionError("it belongs to its owner")


def test_the_same_picture_is_asked_about_once():
    model = _Counting()
    known = remembering(model)
    picture = np.random.default_rng(0).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: known.depth([picture.copy()])[0], range(40)))
    assert model.asked == 1
    for answer in answers:
        np.testing.assert_array_equal(answer.depth_HW, answers[0].depth_HW)
    answers[0].depth_HW[:] = -1  # an answer is its receiver's own
    assert known.depth([picture])[0].depth_HW.min() >= 0
    other = picture.copy()
    other[0, 0, 0] ^= 1
    known.depth([other])
    known.depth([picture.reshape(16, 9, 3)])
    assert model.asked == 3


def test_it_is_what_the_model_is():
    known = remembering(_Counting())
    assert isinstance(known, DepthEstimator)
    assert not isinstance(known, (PoseEstimator, BoxPoseEstimator))
    assert not hasattr(known, "flow")


def test_a_failure_is_not_remembered():
    class Failing:
        asked = 0

        def embed(self, images):
            self.asked += 1
            if self.asked == 1:
                raise ValueError("once")
            return self.asked

    known = remembering(Failing())
    with pytest.raises(ValueError, match="once"):
        known.embed([1])
    assert known.embed([1]) == 2
    assert known.embed([1]) == 2


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    path = tmp_path_factory.mktemp("still") / "still.mp4"
    picture = np.random.default_rng(1).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    picture = picture.repeat(10, 0).repeat(10, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.options = {"crf": "0"}  # at other qualities a still is refined for some frames
        for i in range(24 * 3):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_still_video_costs_next_to_nothing(still, tmp_path, monkeypatch):
    asked_for = {
        "signals": ["motion.flow", "motion.camera_homography", "frames.depth"],
        "without": ["transitions"],
    }
    with Engine(profile="embedded", workers=2) as engine:
        asked = {"flow": 0, "depth": 0}
        for role in asked:
            model = engine.role(role)
            method = getattr(model, role)

            def counted(*given, role=role, method=method):
                asked[role] += 1
                return method(*given)

            monkeypatch.setattr(model, role, counted)
        engine.process(still, tmp_path / "once", **asked_for)
        once = dict(asked)
        monkeypatch.setattr("stpe.pipeline.jobs.remembering", lambda model: model)
        engine.process(still, tmp_path / "each", **asked_for)
    each = {role: asked[role] - once[role] for role in asked}
    assert each == {"flow": 2 * 29, "depth": 6}
    assert once == {"flow": 2, "depth": 1}
    found, expected = (open_dataset(tmp_path / name) for name in ("once", "each"))
    for table in ("frames", "motion"):
        assert found.arrow(table).equals(expected.arrow(table))


def test_a_table_is_planned_without_what_is_told_from_all_others():
    with Engine(profile="embedded") as engine:
        alone = engine.plan(signals=["shots"])
        assert {n.name for n in alone.nodes} == {"shots", "transitions"}
        assert "shots.caption_brief" in alone.unasked
        purposes = {n.name: n.purpose for n in alone.nodes}
        assert purposes == {"shots": None, "transitions": "shots.confidence"}
        told = engine.plan(signals=["shots", "shots.caption_brief"])
        assert {"shots.caption_brief"} <= told.stored
        camera = next(n for n in told.nodes if n.name == "camera")
        assert camera.purpose == "shots.caption_brief"
        assert "summary" not in str(engine.plan(signals=["videos"]).stored)
        everything = engine.plan()
        assert {"shots.caption_brief", "videos.summary"} <= everything.stored
        assert not everything.unasked


@pytest.mark.weights
def test_a_concept_that_is_not_found_is_told_with_its_reason(still, tmp_path):
    with Engine(profile="embedded") as engine:
        wanted = {"signals": ["objects.label"], "without": ["motion", "frames.dense"]}
        for concept, reason in (
            ("swan", "'swan' is no class"),
            ("dog", "nothing was found of 'dog'"),
        ):
            (report,) = engine.process(
                still, tmp_path / concept, concepts=[concept], **wanted
            ).videos
            assert any(reason in warning for warning in report.warnings)
            dataset = open_dataset(tmp_path / concept)
            assert any(reason in w for w in dataset.arrow("videos")["warnings"][0].as_py())
            reasons = {
                row["reason"]
                for row in dataset.arrow("artifacts").to_pylist()
                if row["stage"] == "objects"
            }
            assert (concept == "swan") == any("swan" in (r or "") for r in reasons)
