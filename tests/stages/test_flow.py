"""The flow stage: units, cells and a confidence that knows where flow cannot be trusted."""

import cv2
import numpy as np
import pytest

from stpe.models.backends.opencv import dis
from stpe.models.backends.openvino import raft
from stpe.signals import schema
from stpe.stages.flow import COLUMNS, Flow, cell_flow
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import Frame, SourceInfo

INFO = SourceInfo("v", "file", "0", 960, 480, 30.0, 1.0, 30)
SPAN = Span(0, 0.0, 1.0)


def stage():
    return Flow({"flow": dis.load({}, {})}, Request())


def texture(seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def run(a, b):
    frames = (Frame(3, 0.1, a), Frame(6, 0.2, b))
    table = stage().process(Window(INFO, SPAN, frames, before=1, core=1)).tables["motion"]
    assert table.schema == schema("motion", COLUMNS)
    row = table.to_pylist()[0]
    flow = np.array(row["flow"], np.float32).reshape(row["flow_shape"])
    confidence = np.array(row["flow_confidence"], np.float32).reshape(row["flow_shape"][:2])
    return row, flow, confidence


def test_a_row_is_in_stored_pixels_from_the_earlier_frame():
    image = texture()
    moved = cv2.warpAffine(image, np.float32([[1, 0, 4], [0, 1, 2]]), (320, 240))
    row, flow, confidence = run(image, moved)
    assert (row["previous_frame_index"], row["frame_index"]) == (3, 6)
    assert abs(row["interval_s"] - 0.1) < 1e-9
    assert flow.shape == (30, 40, 2)
    # 320x240 looked at, 960x480 stored: x three times, y twice.
    np.testing.assert_allclose(np.median(flow[4:-4, 4:-4], axis=(0, 1)), [12, 4], atol=0.2)
    assert np.median(confidence[4:-4, 4:-4]) > 0.8


@pytest.mark.parametrize(
    ("coarser", "back"), [(dis.Dis.coarser, (80, 106)), (raft.Raft.coarser, (240, 320))]
)
def test_the_way_back_is_looked_at_as_small_as_the_model_allows(monkeypatch, coarser, back):
    model, asked = dis.load({}, {}), []
    flow = model.flow
    monkeypatch.setattr(model, "coarser", coarser)
    monkeypatch.setattr(model, "flow", lambda a, b: asked.append((a, b)) or flow(a, b))
    earlier, later = texture(), np.roll(texture(), 5, axis=1)
    found, confidence = cell_flow(model, earlier, later)
    assert [a.shape[:2] for a, _ in asked] == [(240, 320), back]
    if coarser == 1:  # the arrays themselves, by which a model knows what it has encoded
        assert asked[1][0] is later
        assert asked[1][1] is earlier
    np.testing.assert_allclose(np.median(found[4:-4, 4:-4], axis=(0, 1)), [5, 0], atol=0.2)
    assert np.median(confidence[4:-4, 4:-4]) > 0.8


def test_the_first_frame_of_the_video_has_no_row():
    window = Window(INFO, SPAN, (Frame(0, 0.0, texture()),), before=0, core=1)
    table = stage().process(window).tables["motion"]
    assert table.num_rows == 0
    assert table.schema == schema("motion", COLUMNS)


def test_confidence_is_low_without_texture_and_across_a_cut():
    half = texture()
    half[:, 160:] = 128
    _, _, confidence = run(half, half)
    assert np.median(confidence[:, 3:16]) > 0.8
    assert confidence[:, 26:].max() < 0.05
    _, _, confidence = run(texture(1), texture(2))
    assert np.median(confidence) < 0.3
