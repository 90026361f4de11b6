import hashlib
import json

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco
from reprojection import reproject

from stpe.errors import MissingExtraError, UsageError
from stpe.simulate import doom
from stpe.simulate.doom_policy import Player, RandomPlayer, Sight
from stpe.simulate.moving import Still, Window


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    pytest.importorskip("vizdoom")
    return doom.record(tmp_path_factory.mktemp("doom") / "a", seconds=2.0, seed=2)


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_video_has_a_constant_rate_and_is_lit(recording):
    with av.open(str(recording.video)) as container:
        frames = list(container.decode(video=0))
    pts = np.array([float(f.pts * f.time_base) for f in frames])
    assert len(frames) == recording.frames == 70
    np.testing.assert_allclose(pts, np.arange(70) / 35, atol=1e-9)
    image = frames[0].to_ndarray(format="rgb24")
    assert image.shape == (480, 640, 3)
    assert image.mean() > 30
    assert image.std() > 15


def test_masks_boxes_places_and_depth_agree(recording):
    facts = json.loads((recording.truth / "truth.json").read_text())
    frames = pq.read_table(recording.truth / "frames.parquet").to_pylist()
    objects = pq.read_table(recording.truth / "objects.parquet").to_pylist()
    assert len(frames) == facts["frames"] == 70
    k, depth = facts["intrinsics"], facts["depth"]
    checked = 0
    for row in objects[::7]:
        mask_HW = coco.decode({**row["mask_rle"], "counts": row["mask_rle"]["counts"].encode()})
        ys, xs = np.nonzero(mask_HW)
        assert row["area_px"] == len(xs)
        assert row["box_xyxy"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        if row["category"] == "Self":
            assert row["distance_units"] is None
            continue
        pose = np.array(frames[row["frame_index"]]["camera_to_world"]).reshape(4, 4)
        x, _y, z = np.linalg.inv(pose)[:3] @ [*row["position"], 1.0]
        assert z == pytest.approx(row["distance_units"])
        whole = xs.min() > 20 and xs.max() < 620 and len(xs) > 60
        if row["category"] in ("Ammo", "Health") and whole and row["velocity"] == [0, 0, 0]:
            image = cv2.imread(
                str(recording.truth / "depth" / f"{row['frame_index']:06d}.png"),
                cv2.IMREAD_GRAYSCALE,
            )
            measured = depth["step"] * float(np.median(image[mask_HW > 0])) + depth["offset"]
            assert measured == pytest.approx(z, rel=0.08, abs=15)
            assert xs.min() - 15 < k["cx"] + k["fx"] * x / z < xs.max() + 15
            checked += 1
    assert checked > 10


def test_depth_and_colour_agree_when_reprojected(recording):
    """The standing world of one frame, put into a later one by depth and camera, is there."""
    facts = json.loads((recording.truth / "truth.json").read_text())
    frames = pq.read_table(recording.truth / "frames.parquet").to_pylist()
    objects = pq.read_table(recording.truth / "objects.parquet").to_pylist()
    with av.open(str(recording.video)) as container:
        grey = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    poses = [np.array(f["camera_to_world"]).reshape(4, 4) for f in frames]
    gaps, colours, plain = [], [], []
    for first, second in ((10, 20), (30, 45), (50, 65)):
        assert np.linalg.norm(poses[second][:3, 3] - poses[first][:3, 3]) > 20
        found = reproject(recording.truth, facts, poses, objects, first, second)
        gaps.append(found.gap)
        colours.append(np.abs(grey[second][found.to] - grey[first][found.at]))
        plain.append(np.abs(grey[second] - grey[first]))
    # Half a step of the depth buffer is all that may be lost, and the picture must fit better than
    # without moving it.
    assert np.median(np.abs(np.concatenate(gaps))) < facts["depth"]["step"] / 2
    assert np.mean(np.concatenate(colours)) < 0.6 * np.mean(plain)


def test_things_that_lie_are_still(recording):
    rows = pq.read_table(recording.truth / "objects.parquet").to_pylist()
    lying = [r["moving"] for r in rows if r["category"] in ("Ammo", "Health", "Weapon")]
    assert len(lying) > 50
    assert not any(lying)
    assert {r["moving"] for r in rows if r["category"] == "Self"} == {None}


def test_velocity_is_the_mean_over_the_window():
    window = Window(2, fps=10.0, still=Still(0.5, 1.0))
    out = []
    places = [{1: (0.3 * i, 0, 0), 2: (0, 0, 0)} for i in range(8)]
    for i, there in enumerate(places):
        rows = [
            {"object_id": n, "position": there[n], "velocity": [9, 9, 9], "moving": None}
            for n in (1, 2)
        ]
        out += window.push(int(i >= 6), there, rows, i)
        assert len(out) == max(0, i - 1)
    out += window.flush()
    assert [rest for _, rest in out] == list(range(8))
    for rows, _ in out:  # the cut at frame 6 is never measured across
        np.testing.assert_allclose(rows[0]["velocity"], [3, 0, 0], atol=1e-9)
        assert [row["moving"] for row in rows] == [True, False]


def _small(folder):
    pytest.importorskip("vizdoom")
    return doom.record(folder, 1, 1, "defend_the_line", (320, 240), policy="random")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return _small(tmp_path_factory.mktemp("small") / "a")


def test_random_player_meets_monsters_that_walk_and_that_wait(small):
    facts = json.loads((small.truth / "truth.json").read_text())
    assert (facts["width"], facts["height"], facts["policy"]) == (320, 240, "random")
    rows = pq.read_table(small.truth / "objects.parquet").to_pylist()
    assert {r["moving"] for r in rows if r["category"] == "Monster"} >= {True, False}
    acts = [RandomPlayer(4).act(None) for _ in range(3)]
    assert acts == [RandomPlayer(4).act(None) for _ in range(3)]
    player = RandomPlayer(4)
    assert len({player.act(None) for _ in range(100)}) > 5


def test_log_holds_inputs_and_state(recording):
    rows = [json.loads(line) for line in recording.state_log.read_text().splitlines()]
    assert len(rows) == 70
    assert any("MOVE_FORWARD" in row["inputs"] for row in rows)
    assert rows[0]["health"] > 0
    assert max(row["player"]["speed"] for row in rows) > 50
    assert {row["player"]["state"] for row in rows} >= {"moving", "attacking"}


def test_a_seed_decides_the_episode(small, tmp_path):
    again = _small(tmp_path / "b")
    for name in ("frames.parquet", "objects.parquet"):
        assert _digest(again.truth / name) == _digest(small.truth / name)
    assert _digest(again.video) == _digest(small.video)
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [
        "episode.mp4",
        "state.jsonl",
        "truth",
    ]


def test_wrong_use_and_missing_engine_say_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    monkeypatch.setattr(doom.importlib.util, "find_spec", lambda name: object())
    for arguments in (
        {"out": tmp_path / "full"},
        {"out": tmp_path / "a", "seconds": 0},
        {"out": tmp_path / "a", "seed": -1},
        {"out": tmp_path / "a", "scenario": "doom3"},
        {"out": tmp_path / "a", "resolution": (641, 480)},
        {"out": tmp_path / "a", "policy": "clever"},
    ):
        with pytest.raises(UsageError):
            doom.record(**arguments)
    monkeypatch.setattr(doom.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"stpe\[sim\]"):
        doom.record(tmp_path / "a")


def test_player_turns_to_the_monster_and_away_from_the_wall():
    def sight(free, monsters=()):
        return Sight(np.asarray(free, np.float32), 90.0, tuple(monsters), 5.0)

    player = Player(0)
    acts = [player.act(sight([900] * 21, [(20.0, 300.0)])) for _ in range(5)]
    assert acts[-1].turn_deg > 1
    assert "ATTACK" in player.act(sight([900] * 21, [(1.0, 300.0)])).buttons
    player = Player(0)
    walls = [900] * 8 + [100] * 13
    assert [player.act(sight(walls)) for _ in range(5)][-1].turn_deg < -1
