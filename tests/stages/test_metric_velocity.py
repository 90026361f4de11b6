"""Objects' speed in the world from their speed in the picture."""

import json

import numpy as np
import pyarrow as pa
import pytest

from stpe.signals import schema
from stpe.stages.metric_velocity import MetricVelocity
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo

SOURCE = SourceInfo("", "file", "", 640, 480, 30.0, None, None)
CAMERA = json.dumps({"fx": 500, "fy": 400, "cx": 320, "cy": 240})


def run(camera: str, **frame) -> dict:
    depth = np.linspace(1, 3, 12 * 16).reshape(12, 16)
    row = {
        "frame_index": 4,
        "pts": 0.2,
        "depth": depth.astype(np.float16).ravel(),
        "depth_shape": [12, 16],
        "depth_unit": "metres",
        **frame,
    }
    objects = [
        {"frame_index": 4, "object_id": n, "object_velocity_px_s": moved, "depth": 2.0,
         "velocity_std_px_s": 5.0, "depth_confidence": 0.9}
        for n, moved in enumerate(([100.0, -40.0], None))
    ]  # fmt: skip
    columns = [c for c in row if c not in ("frame_index", "pts")]
    rows = {
        "frames": pa.Table.from_pylist([row], schema=schema("frames", columns)),
        "objects": pa.Table.from_pylist(
            objects, schema=schema("objects", [c for c in objects[0] if not c.endswith("_id")][1:])
        ),
    }
    out = MetricVelocity({}, Request(camera=camera)).process(
        Window(SOURCE, Span(0, 0, 0), rows=rows)
    )
    first, second = out.tables["objects"].to_pylist()
    assert second["velocity_metric"] is None
    return first


def test_depth_with_a_unit_gives_speed_with_it() -> None:
    found = run(CAMERA)
    assert found["velocity_metric"] == pytest.approx([0.4, -0.2])
    assert found["velocity_metric_unit"] == "metres/s"
    assert found["velocity_metric_std"] == pytest.approx(np.hypot(0.025, 0.1 * np.hypot(0.4, 0.2)))
    assert run("")["velocity_metric_std"] > 2 * found["velocity_metric_std"]


def test_relative_depth_takes_the_unit_of_triangulated_depth() -> None:
    rng = np.random.default_rng(0)
    depth = np.linspace(1, 3, 12 * 16)
    seen = 7 * depth * np.exp(rng.normal(0, 0.2, len(depth)))
    known = {
        "depth_unit": "relative",
        "geometric_depth": seen.astype(np.float16),
        "geometric_depth_shape": [12, 16],
        "geometric_depth_confidence": np.full(len(seen), 0.9, np.float16),
        "geometric_scale": 10.0,
        "geometric_unit": "studs",
    }
    found = run(CAMERA, **known)
    assert found["velocity_metric"] == pytest.approx([28.0, -14.0], rel=0.05)
    assert found["velocity_metric_unit"] == "studs/s"
    assert found["velocity_metric_std"] == pytest.approx(0.2 * np.hypot(28, 14), rel=0.3)
    assert run(CAMERA, **known | {"geometric_scale": None})["velocity_metric"] is None
    assert run(CAMERA, depth_unit="relative")["velocity_metric"] is None
