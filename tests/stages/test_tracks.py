"""Tracks of synthetic boxes that follow a synthetic flow, across chunks, gaps, crossings, cuts."""

import json

import numpy as np
import pyarrow as pa
import pytest

from stpe.geometry.intrinsics import intrinsics
from stpe.geometry.rotation import matrix_of
from stpe.signals import schema
from stpe.stages.camera import Camera
from stpe.stages.colors import color_profile
from stpe.stages.frame_camera import Composed, FrameCamera
from stpe.stages.frame_camera import label as name_of
from stpe.stages.object_motion import ObjectMotion
from stpe.stages.stage import Request, Span, Window
from stpe.stages.tracklets import Tracklets
from stpe.stages.tracks import Tracks
from stpe.tracking.likeness import learn
from stpe.video.frame import SourceInfo

WIDTH, HEIGHT, H, W = 640, 480, 45, 60
SOURCE = SourceInfo("x", "file", "0" * 64, WIDTH, HEIGHT, 10.0, None, None)
FLOW = ["previous_frame_index", "interval_s", "flow", "flow_shape", "flow_confidence"]


def motion_rows(frames, shift_at, fps=10.0):
    """Motion rows up to each frame but the first; shift_at(frame, xy) gives flow at points."""
    x, y = (np.arange(W) + 0.5) * WIDTH / W, (np.arange(H) + 0.5) * HEIGHT / H
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    rows = [
        {
            "frame_index": f,
            "pts": f / fps,
            "previous_frame_index": f - 1,
            "interval_s": 1 / fps,
            "flow": shift_at(f - 1, points).astype(np.float16).ravel(),
            "flow_shape": [H, W, 2],
            "flow_confidence": np.ones(H * W, np.float16),
        }
        for f in frames
        if f > 0
    ]
    return pa.Table.from_pylist(rows, schema("motion", FLOW))


def objects_rows(boxes, fps=10.0):
    """boxes: (frame, x, y, w, h, score, label, embedding)."""
    rows, seen = [], {}
    for frame, x, y, w, h, score, label, embedding in boxes:
        seen[frame] = seen.get(frame, -1) + 1
        rows.append(
            {
                "frame_index": frame,
                "object_id": seen[frame],
                "pts": frame / fps,
                "label": label,
                "confidence": score,
                "box_xyxy": [x, y, x + w, y + h],
                "area_px": w * h,
                "embedding": embedding,
            }
        )
    columns = ["pts", "label", "confidence", "box_xyxy", "area_px", "embedding"]
    return pa.Table.from_pylist(rows, schema("objects", columns))


def track(objects, frames, motion=None, shots=None, chunk=None, fps=10.0):
    """track_id by (frame, object) and the tracks table, run in chunks of that many frames."""
    frames = list(frames)
    table = {"frame_index": pa.array(frames, pa.int64()), "pts": [f / fps for f in frames]}
    if shots:
        table["shot_id"] = pa.array([shots[f] for f in frames], pa.int32())
    table = pa.table(table)
    state, parts, size = None, [], chunk or len(frames)
    for start in range(0, len(frames), size):
        low = frames[start]
        high = frames[start + size] if start + size < len(frames) else 10**9
        rows = {"frames": table.slice(start, size), "objects": _between(objects, low, high)}
        if motion is not None:
            rows["motion"] = _between(motion, low, high)
        window = Window(SOURCE, Span(0, 0, 1e9), rows=rows, state=state)
        out = Tracklets({}, Request()).process(window)
        state = out.state
        parts.append(out.tables["objects"])
    made = pa.concat_tables(parts)
    for name in ("tracklet_id", "tracklet_confidence"):
        objects = objects.append_column(name, made[name])
    rows = {"frames": table, "objects": objects}
    out = Tracks({}, Request()).process(Window(SOURCE, Span(0, 0, 1e9), rows=rows))
    rows = out.tables["objects"].to_pylist()
    ids = {(r["frame_index"], r["object_id"]): r["track_id"] for r in rows}
    return ids, out.tables["tracks"].to_pylist()


def _between(table, low, high):
    index = table["frame_index"].to_numpy()
    return table.filter(pa.array((index >= low) & (index < high)))


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=16)
    return vector / np.linalg.norm(vector)


def crossing(frames, gap=()):
    """Two people who walk through each other; one is unseen during the gap."""
    rng = np.random.default_rng(3)
    boxes = []
    for f in frames:
        jitter = rng.normal(0, 1.0, 4)
        boxes.append((f, 60 + 9 * f + jitter[0], 200 + jitter[1], 40, 100, 0.9, "person", unit(1)))
        if f not in gap:
            second = (500 - 8 * f + jitter[2], 205 + jitter[3], 42, 104)
            boxes.append((f, *second, 0.85, "person", unit(2)))
    return boxes


def test_crossing_with_a_gap_keeps_both_identities_in_any_chunking():
    frames = range(50)
    objects = objects_rows(crossing(frames, gap=range(24, 32)))
    whole = track(objects, frames)
    assert track(objects, frames, chunk=7) == whole
    ids, tracks = whole
    assert len(tracks) == 2
    assert {ids[f, 0] for f in frames} == {1}
    assert {ids[f, 1] for f in frames if (f, 1) in ids} == {2}
    assert [t["n_frames"] for t in tracks] == [50, 42]
    assert abs(np.linalg.norm(tracks[0]["embedding"]) - 1) < 1e-5


def test_two_frames_a_second_follow_the_flow():
    def shift(frame, points):
        inside = (np.abs(points - [100 + 20 * frame, 250]) < [24, 50]).all(axis=1)
        return np.where(inside[:, None], [20.0, 0.0], 0.0)

    frames = range(0, 26, 5)
    boxes = [(f, 76 + 20 * f, 200, 48, 100, 0.9, "dog", None) for f in frames]
    motion = motion_rows(range(26), shift)
    objects = objects_rows(boxes)
    ids, tracks = track(objects, frames, motion)
    assert set(ids.values()) == {1}
    assert track(objects, frames, motion, chunk=2) == (ids, tracks)


def test_nothing_continues_over_a_cut_and_weak_tracks_are_dropped():
    boxes = [(f, 100, 100, 60, 60, 0.9, "cat", unit(1)) for f in range(12)]
    boxes += [(f, 400, 100, 60, 60, 0.71 if f == 0 else 0.5, "cat", unit(2)) for f in range(12)]
    boxes += [(5, 300, 300, 60, 60, 0.95, "cat", unit(3))]
    objects = objects_rows(sorted(boxes, key=lambda b: b[0]))
    shots = {f: int(f >= 6) for f in range(12)}
    ids, tracks = track(objects, range(12), shots=shots)
    assert [ids[f, 0] for f in range(12)] == [1] * 6 + [2] * 6
    assert {i for key, i in ids.items() if key[1] > 0} == {None}
    assert [(t["first_frame"], t["last_frame"]) for t in tracks] == [(0, 5), (6, 11)]


def test_what_is_seen_once_is_a_track_only_between_rare_frames_and_beyond_doubt():
    boxes = [
        (2, 100, 100, 60, 60, 0.95, "cat", unit(1)),
        (4, 400, 100, 60, 60, 0.78, "dog", unit(2)),
    ]
    for fps, known in ((2.0, [1, None]), (10.0, [None, None])):
        ids, tracks = track(objects_rows(boxes, fps), range(6), fps=fps)
        assert [ids[2, 0], ids[4, 0]] == known
        assert [t["n_frames"] for t in tracks] == [1] * (known[0] or 0)


def pan_and_square(frame, points):
    """A camera panning right by 0.9 degrees, and a square that moves by itself."""
    camera = intrinsics("", WIDTH, HEIGHT)
    rays = np.c_[camera.rays(points), np.ones(len(points))] @ matrix_of(np.radians([0, 0.9, 0]))
    pan = rays[:, :2] / rays[:, 2:] * camera.fx + [camera.cx, camera.cy] - points
    inside = (np.abs(points - [300, 240]) < 60).all(axis=1)
    return np.where(inside[:, None], [6.0, 2.0], pan)


def with_camera(motion, transitions=None, state=None):
    rows = {"motion": motion}
    if transitions is not None:
        rows["transitions"] = transitions
    out = Camera({}, Request()).process(Window(SOURCE, Span(0, 0, 1e9), rows=rows, state=state))
    for name in out.tables["motion"].column_names[2:]:
        motion = motion.append_column(name, out.tables["motion"][name])
    return motion, out.state


def test_motion_of_objects_is_split_and_sums():
    motion, _ = with_camera(motion_rows(range(3), pan_and_square))
    objects = objects_rows(
        [(1, 245, 185, 110, 110, 0.9, "a", None), (1, 450, 60, 90, 90, 0.9, "b", None)]
    )
    rows = {"motion": motion, "objects": objects}
    out = ObjectMotion({}, Request()).process(Window(SOURCE, Span(0, 0, 1e9), rows=rows))
    mover, still = out.tables["objects"].to_pylist()
    assert mover["motion"] == "moving"
    assert still["motion"] == "static"
    assert min(mover["motion_confidence"], still["motion_confidence"]) > 0.8
    np.testing.assert_allclose(mover["object_velocity_px_s"], [139, 20], atol=3)
    np.testing.assert_allclose(mover["camera_velocity_px_s"], [-79, 0], atol=3)
    for row in (mover, still):
        parts = np.add(row["camera_velocity_px_s"], row["object_velocity_px_s"])
        np.testing.assert_allclose(parts, row["velocity_px_s"], rtol=1e-4, atol=1e-3)


def test_no_camera_across_a_cut_even_at_a_chunk_border():
    frames = pa.table({"frame_index": [0, 1, 2, 3], "cut": [1.0, 0.0, 0.0, 0.9]})
    motion = motion_rows(range(0, 3), pan_and_square)
    first, state = with_camera(motion, frames)
    assert first["camera_homography"].null_count == 0
    late = motion_rows(range(4, 6), pan_and_square)
    second, _ = with_camera(late, None, state)
    assert [r is None for r in second["camera_homography"].to_pylist()] == [True, False]


def test_frames_compose_what_lies_between_in_any_chunking():
    motion, _ = with_camera(motion_rows(range(21), pan_and_square))
    frames = pa.table({"frame_index": pa.array([0, 5, 10, 15, 20]), "pts": [0, 0.5, 1, 1.5, 2.0]})

    def run(size):
        state, parts = None, []
        for start in range(0, 5, size):
            high = frames["frame_index"][start + size].as_py() if start + size < 5 else 99
            low = frames["frame_index"][start].as_py()
            rows = {"frames": frames.slice(start, size), "motion": _between(motion, low, high)}
            window = Window(SOURCE, Span(0, 0, 1e9), rows=rows, state=state)
            out = FrameCamera({}, Request()).process(window)
            state = out.state
            parts += out.tables["frames"].to_pylist()
        return parts

    whole = run(5)
    assert run(2) == whole
    assert whole[0]["camera_motion"] is None
    assert {row["camera_motion"] for row in whole[1:]} == {"pan_right"}
    matrix = np.array(whole[1]["camera_homography"]).reshape(3, 3)
    centre = matrix @ [320, 240, 1]
    np.testing.assert_allclose(centre[:2] / centre[2], [280.4, 240], atol=1)
    np.testing.assert_allclose(whole[1]["camera_rotation_deg"], [0, 4.5, 0], atol=0.1)
    assert whole[1]["camera_translation"] is None


def test_where_the_poses_end_nothing_is_known_of_the_camera():
    poses = [{"frame_index": i, "camera_to_world": np.eye(4).ravel().tolist()} for i in (0, 1)]
    motion = motion_rows(range(4), lambda f, p: np.zeros_like(p))
    window = Window(SOURCE, Span(0, 0, 1e9), rows={"motion": motion})
    out = Camera({}, Request(camera=json.dumps({"poses": poses}))).process(window)
    trust = out.tables["motion"]["camera_confidence"].to_pylist()
    assert trust[0] > 0.9
    assert trust[1:] == [None, None]


def test_a_still_camera_is_static():
    motion, _ = with_camera(motion_rows(range(11), lambda f, p: np.zeros_like(p)))
    frames = pa.table({"frame_index": pa.array([0, 5, 10]), "pts": [0, 0.5, 1.0]})
    rows = {"frames": frames, "motion": motion}
    out = FrameCamera({}, Request()).process(Window(SOURCE, Span(0, 0, 1e9), rows=rows))
    labels = out.tables["frames"]["camera_motion"].to_pylist()
    assert labels == [None, "static", "static"]


@pytest.mark.parametrize("seconds", [0.5, 20.0])
def test_a_slow_pan_is_no_stillness_however_long_it_takes(seconds):
    composed = Composed(np.eye(3), seconds=seconds)
    composed.homography[0, 2] = -60.0
    composed.rotation = matrix_of(np.radians([0.0, -6.5, 0.0]))
    camera = intrinsics("", WIDTH, HEIGHT)
    assert name_of(composed, False, camera, (WIDTH, HEIGHT)) == "pan_right"


def test_a_name_needs_support_and_the_viewers_own_hand_goes_nowhere():
    rows = []
    for i in range(12):
        both = {"frame_index": i, "pts": 0.5 * i, "tracklet_confidence": 1.0, "area_px": 900.0}
        both |= {"camera_velocity_px_s": [60.0, 0.0], "object_velocity_px_s": [18.0, 0.0]}
        both |= {"mask_confidence": 0.95, "motion": "moving"}
        x, sway = 10 + 9 * i, 5 * (i % 2)
        dog = {"object_id": 0, "tracklet_id": 1, "label": "dog" if i < 9 else "cat"}
        dog |= {"confidence": 0.9, "box_xyxy": [x, 50, x + 30, 80]}
        hand = {"object_id": 1, "tracklet_id": 2, "label": ("hydrant", "person", "object")[i % 3]}
        hand |= {"confidence": 0.7, "box_xyxy": [300 + sway, HEIGHT - 40, 340 + sway, HEIGHT]}
        rows += [both | dog, both | hand]
    columns = [c for c in rows[0] if c not in ("frame_index", "object_id")]
    objects = pa.Table.from_pylist(rows, schema("objects", columns))
    window = Window(SOURCE, Span(0, 0, 1e9), rows={"objects": objects})
    dog, hand = Tracks({}, Request()).process(window).tables["tracks"].to_pylist()
    assert (dog["label"], hand["label"]) == ("dog", "object")
    assert abs(dog["confidence"] - 0.9 * 9 / 12) < 1e-6
    assert (dog["motion_summary"], dog["direction"]) == ("moderate", "right")
    assert hand["motion_summary"] is None
    assert hand["moving_share"] is None


def test_one_thing_under_changing_names_that_jumps_between_rare_frames():
    names = ["dog", "cat", "object", "dog", "person", "dog"]
    places = [(100, 100), (180, 110), (120, 160), (200, 220), (130, 250), (220, 200)]
    boxes = [
        (i, x, y, 100, 80, 0.8, name, unit(1))
        for i, ((x, y), name) in enumerate(zip(places, names, strict=True))
    ]
    ids, (seen,) = track(objects_rows(boxes, fps=2.0), range(6), chunk=2, fps=2.0)
    assert set(ids.values()) == {1}
    assert seen["n_frames"] == 6


def dressed(shirt):
    """A colour profile of a person in a shirt of that colour."""
    image = np.full((60, 30, 3), 90, np.uint8)
    image[15:35] = shirt
    return color_profile(image, np.array([0, 0, 30, 60], np.float32), None)


def test_identities_exchanged_at_a_meeting_are_set_right_by_looks():
    red, blue = dressed((200, 40, 40)), dressed((40, 40, 200))
    rows = []
    for f in range(40):
        # Each walks to the middle and turns back; the tracker had them walk through each other.
        away = 12 * abs(20 - f)
        for number, (x, colors) in enumerate(((300 - away, red), (310 + away, blue))):
            rows.append(
                {
                    "frame_index": f,
                    "object_id": number,
                    "pts": f / 10,
                    "label": "person",
                    "confidence": 0.9,
                    "box_xyxy": [x, 200, x + 40, 300],
                    "area_px": 4000.0,
                    "colors": colors,
                    "tracklet_id": 1 + (number + (f > 20)) % 2,
                    "tracklet_confidence": 0.9,
                }
            )
    columns = [c for c in rows[0] if c not in ("frame_index", "object_id")]
    objects = pa.Table.from_pylist(rows, schema("objects", columns))
    window = Window(SOURCE, Span(0, 0, 1e9), rows={"objects": objects})
    found = Tracks({}, Request()).process(window).tables["objects"].to_pylist()
    first, second = ({r["track_id"] for r in found if r["object_id"] == n} for n in (0, 1))
    assert (first, second) == ({1}, {2})


def test_looks_that_tell_nothing_apart_in_a_video_have_no_say():
    rng = np.random.default_rng(0)
    told = np.array([[-3.0, -2.0]]) + rng.normal(0, 0.3, (60, 2))
    other = np.array([[-1.0, -2.0]]) + rng.normal(0, 0.3, (60, 2))
    likeness = learn(told, other)
    assert likeness.ratio(np.array([-3.0, -2.0])) > 3
    assert likeness.ratio(np.array([-1.0, -2.0])) < -3
    assert likeness.ratio(np.array([-2.0, -5.0])) < 1
    assert likeness.ratio(np.array([np.nan, np.nan])) == 0


def test_a_box_off_a_steady_path_is_left_out_and_a_lone_look_alike_is_taken_in():
    red, blue = dressed((200, 40, 40)), dressed((40, 40, 200))
    rows = []
    for f in range(30):
        x = 60 + 8 * f
        walker = {"colors": red, "confidence": 0.9, "tracklet_id": 1}
        walker["box_xyxy"] = [x + 60 * (f == 15), 200, x + 60 * (f == 15) + 40, 300]
        if f == 22:  # a doubtful box that no tracklet took
            walker |= {"confidence": 0.5, "tracklet_id": None, "tracklet_confidence": None}
        other = {"colors": blue, "confidence": 0.9, "tracklet_id": 2}
        other["box_xyxy"] = [500, 20, 540, 120]
        for number, row in enumerate((walker, other)):
            both = {"frame_index": f, "object_id": number, "pts": f / 10, "label": "person"}
            rows.append(both | {"area_px": 4000.0, "tracklet_confidence": 0.9} | row)
    columns = [c for c in rows[0] if c not in ("frame_index", "object_id")]
    objects = pa.Table.from_pylist(rows, schema("objects", columns))
    window = Window(SOURCE, Span(0, 0, 1e9), rows={"objects": objects})
    tables = Tracks({}, Request()).process(window).tables
    found = tables["objects"].to_pylist()
    # Nobody associated it frame by frame: its trust is not known, which is no distrust.
    assert [r["track_confidence"] for r in found if r["frame_index"] == 22] == [
        None,
        pytest.approx(0.9),
    ]
    assert tables["tracks"]["confidence"][0].as_py() > 0.84
    walked = {r["frame_index"] for r in found if r["track_id"] == 1}
    assert walked == set(range(30)) - {15}
