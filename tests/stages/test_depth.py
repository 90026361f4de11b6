"""Depth maps as stored, and the depth of objects in them."""

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

from stpe.models.roles import Depth as DepthMap
from stpe.signals import schema
from stpe.stages.depth import Depth, ObjectDepth
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import Frame, SourceInfo

SOURCE = SourceInfo("clip", "file", "0" * 64, 640, 320, 25.0, None, None)


class _Ramp:
    """Depth grows from left to right."""

    def depth(self, images):
        return [
            DepthMap(np.tile(np.arange(i.shape[1], dtype=np.float32) + 1, (len(i), 1)), "metres", 1)
            for i in images
        ]


def _object_rows(boxes, masks):
    entries = []
    for number, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
        rle = None
        if mask is not None:
            encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            rle = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        entries.append({"frame_index": 7, "object_id": number, "box_xyxy": box, "mask_rle": rle})
    return pa.Table.from_pylist(entries, schema("objects", ("box_xyxy", "mask_rle")))


def test_depth_of_a_frame_and_of_its_objects():
    frame = Frame(7, 0.28, np.zeros((160, 320, 3), np.uint8))
    window = Window(SOURCE, Span(0, 0, 4), frames=[frame], core=1)
    frames = Depth({"depth": _Ramp()}, Request()).process(window).tables["frames"]
    row = frames.to_pylist()[0]
    assert row["depth_shape"] == [20, 40]
    depth_hw = np.reshape(row["depth"], row["depth_shape"])
    np.testing.assert_allclose(depth_hw[3], np.arange(40) * 8 + 4.5)

    left = np.zeros((320, 640), bool)
    left[100:200, 160:240] = True
    objects = _object_rows(
        [[160, 100, 480, 200], [160, 100, 480, 200], [300.2, 10.1, 300.9, 10.4], [9, 9, 9, 9]],
        [left, None, None, None],
    )
    rows = {"frames": frames, "objects": objects}
    stage = ObjectDepth({}, Request())
    out = stage.process(Window(SOURCE, Span(0, 0, 4), rows=rows)).tables["objects"].to_pylist()
    # Stored x 160..240 is analysis x 80..120 whose depths are 81..120.
    assert out[0]["depth"] == pytest.approx(100.5, abs=0.1)
    assert out[1]["depth"] == pytest.approx(160.5, abs=0.1)
    assert out[2]["depth"] == pytest.approx(148.5, abs=0.1)
    assert out[3]["depth"] is None
    assert out[0]["depth_confidence"] > out[1]["depth_confidence"] > 0
    assert out[2]["depth_confidence"] == 1
