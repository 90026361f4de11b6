"""Depth and step length triangulated from flow of a known camera in a known room."""

import json

import numpy as np
import pyarrow as pa
import pytest

from stpe.geometry.egomotion import fit_egomotion
from stpe.geometry.parallax import Follower, Step, triangulate
from stpe.geometry.rotation import matrix_of, vector_of
from stpe.geometry.scale import step_scales
from stpe.signals import schema
from stpe.stages.geometric_depth import GeometricDepth
from stpe.stages.stage import Request, Span, Window
from stpe.stages.trajectory import Trajectory
from stpe.video.frame import SourceInfo

from .scenes import CAMERA, SIZE, field_of, flow_of, grid

WALLS = ((2, 6.0), (1, 1.2), (0, 2.5), (0, -2.5), (1, -1.5))  # axis, place
BALLS = (((0.5, 0.3, 3.0), 0.5), ((-1.0, 0.6, 2.5), 0.4), ((1.2, -0.3, 4.0), 0.6))


def room_depth(pose: np.ndarray) -> np.ndarray:
    """Depth of each cell in a room with balls, seen from a camera-to-world pose."""
    points, _ = grid()
    rays = np.c_[CAMERA.rays(points), np.ones(len(points))] @ pose[:3, :3].T
    place, best = pose[:3, 3], np.full(len(points), 50.0)
    for axis, at in WALLS:
        with np.errstate(all="ignore"):
            far = (at - place[axis]) / rays[:, axis]
        best = np.minimum(best, np.where(far > 0.05, far, 50.0))
    for middle, radius in BALLS:
        gap = place - np.array(middle)
        a, b = (rays**2).sum(axis=1), (rays * gap).sum(axis=1)
        root = b * b - a * (gap @ gap - radius**2)
        far = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, 50.0)
        best = np.minimum(best, np.where(far > 0.05, far, 50.0))
    return best


def walk(count: int = 20, seed: int = 0):
    """(rotation deg, displacement, pose before, noisy field) of a walk through the room."""
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    for k in range(count):
        turn = np.array([0.2 * np.sin(k / 4), np.cos(k / 6), 0.1])
        move = np.array([0.03, 0.0, 0.06]) * (1 + 0.5 * np.sin(k / 3))
        flow = flow_of(turn, move, room_depth(pose))
        yield turn, move, pose, field_of(flow + rng.normal(0, 0.25, flow.shape))
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = matrix_of(np.radians(turn)), move
        pose = pose @ step


def test_depth_and_steps_have_one_unit_over_a_walk():
    follower, lengths = Follower(), []
    for turn, move, pose, field in walk():
        found = fit_egomotion(field, CAMERA)
        follower, length = follower.advanced(
            field, CAMERA, found.rotation_rad, found.translation, 0.1
        )
        lengths.append(length / np.linalg.norm(move))
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = matrix_of(np.radians(turn)), move
        last = pose @ step
    assert np.ptp(lengths) < 0.06 * np.mean(lengths)
    depth = follower.depth
    ratio = 1 / depth.value_N[depth.known] / room_depth(last)[depth.known]
    assert depth.known.mean() > 0.9
    assert np.median(ratio) == pytest.approx(np.mean(lengths), rel=0.05)
    assert np.mean(np.abs(ratio / np.median(ratio) - 1)) < 0.06


def test_a_mover_and_what_shows_no_parallax_have_no_depth():
    turn, move, _, field = next(walk(1))
    points, _ = grid()
    mover = (np.abs(points - [200, 200]) < [60, 90]).all(axis=1)
    field.flow_N2[mover] += [3.0, -9.0]
    depth = triangulate(field, CAMERA, Step.of(field, CAMERA, np.radians(turn), move))
    assert depth.known[mover].mean() < 0.1
    assert depth.known[~mover].mean() > 0.8
    still = triangulate(field, CAMERA, Step.of(field, CAMERA, np.radians(turn), None))
    assert not still.known.any()


def rows(
    count: int, cut: int | None = None, doubtful: int | None = None
) -> tuple[pa.Table, pa.Table, list[np.ndarray]]:
    """`motion` and `frames` of a walk, every second frame analysed, and the true poses."""
    motion, poses = [], []
    for k, (turn, move, pose, field) in enumerate(walk(count)):
        poses.append(pose)
        unknown = k == cut
        motion.append(
            {
                "frame_index": k + 1,
                "pts": 0.1 * (k + 1),
                "interval_s": 0.1,
                "flow": field.flow_N2.astype(np.float16).ravel(),
                "flow_shape": [*field.shape, 2],
                "flow_confidence": field.weight_N.astype(np.float16),
                "camera_confidence": 0.1 if k == doubtful else 0.9,
                "camera_rotation_deg": None if unknown else turn.tolist(),
                "camera_translation": None if unknown else (move / np.linalg.norm(move)).tolist(),
            }
        )
    columns = [c for c in motion[0] if c not in ("frame_index", "pts")]
    frames = pa.table({"frame_index": range(0, count, 2), "pts": np.arange(0, count, 2) / 10})
    return pa.Table.from_pylist(motion, schema=schema("motion", columns)), frames, poses


def run(motion: pa.Table, frames: pa.Table, borders: list[int]) -> pa.Table:
    """`frames` of the stage over chunks that begin at these frames."""
    camera = json.dumps({"fx": CAMERA.fx, "fy": CAMERA.fy, "cx": CAMERA.cx, "cy": CAMERA.cy})
    stage = GeometricDepth({}, Request(camera=camera))
    source = SourceInfo("", "file", "", *SIZE, 10.0, None, None)
    state, parts = None, []
    for a, b in zip(borders, [*borders[1:], 1000], strict=True):
        inside = {
            name: table.filter(
                (pa.compute.field("frame_index") >= a) & (pa.compute.field("frame_index") < b)
            )
            for name, table in (("motion", motion), ("frames", frames))
        }
        out = stage.process(Window(source, Span(0, 0, 0), rows=inside, state=state))
        state = out.state
        parts.append(out.tables["frames"])
    return pa.concat_tables(parts)


def test_chunks_change_nothing_and_a_cut_begins_a_trajectory():
    motion, frames, _ = rows(16, cut=9)
    doubted = run(rows(16, doubtful=9)[0], frames, [0])
    assert doubted["trajectory_id"].to_pylist() == [0] * 5 + [1] * 3
    whole, parts = run(motion, frames, [0]), run(motion, frames, [0, 5, 10])
    for name in whole.column_names:
        for a, b in zip(whole[name].to_pylist(), parts[name].to_pylist(), strict=True):
            assert (a is None) == (b is None), name
            np.testing.assert_array_equal(np.array(a, float), np.array(b, float), name)
    assert whole["trajectory_id"].to_pylist() == [0] * 5 + [1] * 3
    travel = whole["camera_travel"].to_pylist()
    assert [t is None for t in travel] == [True, False, False, False, False, True, False, False]
    assert whole["geometric_depth"][0].as_py() is None
    trust = np.array(whole["geometric_depth_confidence"][4].as_py())
    assert ((trust > 0) == np.isfinite(np.array(whole["geometric_depth"][4].as_py(), float))).all()


def test_a_log_gives_the_path_its_unit():
    motion, frames, poses = rows(20)
    found = run(motion, frames, [0])
    turns = [None]
    for a, b in zip(range(0, 20, 2), range(2, 20, 2), strict=False):
        step = np.linalg.inv(poses[a]) @ poses[b]
        turns.append(np.degrees(vector_of(step[:3, :3])).tolist())
    found = found.append_column("camera_rotation_deg", pa.array(turns, pa.list_(pa.float32())))
    states = [json.dumps({"hrp": {"position": (20 * poses[i][:3, 3]).tolist()}}) for i in
              frames["frame_index"].to_pylist()]  # fmt: skip
    source = SourceInfo("", "file", "", *SIZE, 10.0, None, None)
    for how in ("clock", "unverified"):  # a log that may be of another video gives no unit
        table = found.append_column("state", pa.array(states))
        table = table.append_column("alignment", pa.array([how] * len(states)))
        window = Window(source, Span(0, 0, 0), rows={"frames": table})
        out = Trajectory({}, Request()).process(window).tables["frames"]
        last = np.array(out["camera_to_world"][-1].as_py()).reshape(4, 4)
        true = poses[18][:3, 3]
        if how == "clock":
            assert set(out["geometric_unit"].to_pylist()) == {"studs"}
            assert np.linalg.norm(last[:3, 3] - 20 * true) < 0.06 * 20 * np.linalg.norm(true)
        else:
            assert set(out["geometric_unit"].to_pylist()) == {"relative"}
            assert out["geometric_scale"].null_count == out.num_rows
            cosine = last[:3, 3] @ true / np.linalg.norm(last[:3, 3]) / np.linalg.norm(true)
            assert cosine > 0.995


def test_a_path_that_does_not_fit_gives_no_scale():
    rng = np.random.default_rng(0)
    travel = rng.uniform(0.5, 1.5, 30)
    assert step_scales(travel, 7 * travel) == pytest.approx(np.full(30, 7.0))
    assert np.isnan(step_scales(travel, travel * np.exp(rng.normal(0, 2, 30)))).all()
    assert np.isnan(step_scales(travel, np.full(30, np.nan))).all()


def test_what_is_fixed_to_the_screen_has_no_depth():
    points, _ = grid()
    weapon = (np.abs(points - [320, 400]) < [90, 90]).all(axis=1)
    follower = Follower()
    for number, (_, move, _, _) in enumerate(walk(24)):
        turns = np.array([0.0, 4.0, 0.0]) if number < 12 else np.zeros(3)
        flow = flow_of(turns, move, room_depth(np.eye(4)))
        flow[weapon] *= 0.1
        seen = field_of(flow)
        follower, _ = follower.advanced(
            seen, CAMERA, np.radians(turns), move / np.linalg.norm(move), 0.1
        )
    known = follower.depth.known
    assert not known[weapon].any()
    assert known[~weapon].mean() > 0.5
