import hashlib
import json
import random

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco
from reprojection import reproject

from stpe.errors import MissingExtraError, UsageError
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.rigid_flow import rigid_flow
from stpe.rle import decode_mask
from stpe.simulate import physics
from stpe.state.reading import read_log

pytest.importorskip("mujoco")

needs_renderer = pytest.mark.skipif(
    physics.renderer() is None, reason="neither EGL nor OSMesa is installed"
)


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    if physics.renderer() is None:
        pytest.skip("neither EGL nor OSMesa is installed")
    out = tmp_path_factory.mktemp("physics") / "a"
    return physics.record(out, seconds=1.5, seed=3, scenario="walkers", resolution=(160, 120))


def _tables(recording):
    names = ("frames", "objects", "contacts", "parts")
    return [pq.read_table(recording.truth / f"{name}.parquet").to_pylist() for name in names]


def test_masks_places_joints_and_depth_agree(recording):
    facts = json.loads((recording.truth / "truth.json").read_text())
    frames, objects, contacts, parts = _tables(recording)
    assert len(frames) == facts["frames"] == recording.frames == 45
    assert (facts["units_per_metre"], facts["camera"]) == (1.0, "orbit")
    with av.open(str(recording.video)) as container:
        images = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    assert len(images) == 45
    assert images[0].std() > 10
    k = facts["intrinsics"]
    poses = [np.array(f["camera_to_world"]).reshape(4, 4) for f in frames]
    masks = {}
    for row in parts:
        mask = coco.decode({**row["mask_rle"], "counts": row["mask_rle"]["counts"].encode()})
        key = row["frame_index"], row["object_id"]
        masks[key] = masks.get(key, 0) + mask
    checked = 0
    for row in objects:
        mask = coco.decode({**row["mask_rle"], "counts": row["mask_rle"]["counts"].encode()})
        np.testing.assert_array_equal(mask, masks[row["frame_index"], row["object_id"]])
        x, y, z = np.linalg.inv(poses[row["frame_index"]])[:3] @ [*row["position"], 1.0]
        assert z == pytest.approx(row["distance_units"])
        x0, y0, x1, y1 = row["box_xyxy"]
        if x0 > 1 and x1 < 159 and y0 > 1 and y1 < 119 and row["category"] == "body":
            u, v = k["fx"] * x / z + k["cx"], k["fy"] * y / z + k["cy"]
            assert x0 < u < x1
            assert y0 - 2 < v < y1 + 2
            checked += 1
    assert checked > 20
    legs = [{j["name"]: j["position"] for j in f["joints"]} for f in frames]
    assert np.ptp([j["biped_20/hip_left"] for j in legs]) > 0.3
    assert {c["object_a"] for c in contacts} >= {0}
    walking = [r["moving"] for r in objects if r["label"] == "biped"]
    assert walking.count(True) > 30
    gaps, there, plain = [], [], []
    for first, second in ((0, 30), (10, 40)):
        found = reproject(recording.truth, facts, poses, objects, first, second)
        gaps.append(np.abs(found.gap))
        there.append(np.abs(images[second][found.to] - images[first][found.at]))
        plain.append(np.abs(images[second] - images[first]))
    assert np.median(np.concatenate(gaps)) < 0.02  # within a pixel, which slanted floor crosses
    assert np.median(np.concatenate(there)) < 0.5 * np.mean(plain)


def test_flow_follows_the_parts_of_a_walking_figure(recording):
    truth = read_truth(recording.truth, (160, 120))
    x, y = np.meshgrid(np.arange(160) + 0.5, np.arange(120) + 0.5)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    lengths = []
    for first, second in ((20, 23), (30, 33)):
        flow, known = truth.flow(first, second, points)
        masks = {
            frame: np.asarray(decode_mask(item.mask_rle)).astype(bool)
            for frame in (first, second)
            for item in truth.objects[frame]
            if item.label == "biped"
        }
        on = known & masks[first].ravel()
        assert on.sum() > 100
        u, v = np.floor(points[on] + flow[on]).astype(int).T
        # A limb's pixels land on the figure again, to within a pixel at its rim.
        there = cv2.dilate(masks[second].astype(np.uint8), np.ones((3, 3), np.uint8))
        assert there[v, u].mean() > 0.98
        camera_only = rigid_flow(
            points[on],
            truth.depth(first)[0].ravel()[on],
            truth.camera_step(first, second),
            truth.frames[first].intrinsics,
        )[0]
        lengths.append(np.linalg.norm(flow[on] - camera_only, axis=1))
    assert np.median(np.concatenate(lengths)) > 1


def test_log_opens_as_a_state_log(recording):
    log = read_log(recording.state_log)
    assert len(log.rows) == 45
    state = log.rows[10].state
    assert state["activity"] in ("walking", "standing")
    assert set(state["bodies"]) >= {"biped_20", "quadruped_21"}
    assert len(state["camera"]["camera_to_world"]) == 16


@needs_renderer
def test_a_seed_decides_the_episode(tmp_path):
    pair = [physics.record(tmp_path / name, 0.2, 2, "colliding", (64, 64)) for name in ("a", "b")]
    for name in ("frames.parquet", "objects.parquet", "contacts.parquet", "parts.parquet"):
        assert _digest(pair[0].truth / name) == _digest(pair[1].truth / name)
    assert _digest(pair[0].video) == _digest(pair[1].video)
    other = physics.record(tmp_path / "c", 0.2, 7, "colliding", (64, 64))
    assert _digest(other.video) != _digest(pair[0].video)


def _play(scenario, seed, seconds, watch):
    """Physics alone, without drawing; `watch(world, time, activity)` before every step."""
    from stpe.simulate import physics_engine as engine

    scene = engine.BUILDERS[scenario](random.Random(f"{scenario} {seed}"))
    world = engine.World.of(scene.xml)
    import mujoco

    for step in range(round(seconds / engine.TIMESTEP_S)):
        time_s = step * engine.TIMESTEP_S
        activity = scene.drive(world.model, world.data, time_s)
        if step % 20 == 0:
            mujoco.mj_forward(world.model, world.data)
            watch(world, time_s, activity)
        mujoco.mj_step(world.model, world.data)
    assert np.isfinite(world.data.qpos).all()
    return world


def test_hand_lifts_what_it_grips():
    from stpe.simulate.physics_rows import contact_rows

    heights, touching = {}, set()

    def watch(world, time_s, activity):
        height = max(world.data.body(world.objects[i]).xpos[2] for i in (2, 3, 4))
        heights.setdefault(activity, []).append(height)
        if activity == "carrying":
            touching.update((c["object_a"], c["object_b"]) for c in contact_rows(world, 0))

    _play("hand", 0, 5.0, watch)
    assert max(heights["lowering"]) < 0.75
    assert min(heights["carrying"]) > 0.78
    assert (1, 2) in touching


@pytest.mark.parametrize("scenario", ["rolling", "falling", "colliding"])
def test_bodies_enter_move_and_hit_each_other(scenario):
    from stpe.simulate.physics_rows import STILL, contact_rows

    judged, pairs = set(), set()

    def watch(world, time_s, activity):
        for identity, body in world.objects.items():
            if world.data.body(body).xpos[2] < 20:
                judged.add(STILL.judge(world.speed(identity)))
        pairs.update((c["object_a"], c["object_b"]) for c in contact_rows(world, 0))

    world = _play(scenario, 1, 6.0, watch)
    assert judged >= {True, False}
    assert any(a for a, _ in pairs)
    places = [world.data.body(body).xpos for body in world.objects.values()]
    assert min(p[2] for p in places) > 0


def test_wrong_use_and_missing_libraries_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(physics.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingExtraError, match="apt-get install libosmesa6"):
        physics.record(tmp_path / "a")
    for arguments in (
        {"seconds": 0},
        {"scenario": "juggling"},
        {"resolution": (641, 480)},
        {"resolution": (32, 480)},
    ):
        with pytest.raises(UsageError):
            physics.record(tmp_path / "a", **arguments)
    monkeypatch.setattr(physics.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"stpe\[sim\]"):
        physics.record(tmp_path / "a")
    assert not (tmp_path / "a").exists()
