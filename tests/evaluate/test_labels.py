"""Every kind of label loads into the one schema, with frames counted from 0."""

import json

import cv2
import numpy as np
import pytest

from stpe.errors import TruthError
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.shots import Transition
from stpe.evaluate.truth import pixel_centres
from stpe.rle import decode_mask


def test_mot_frames_and_pixels_count_from_zero_and_ignored_rows_go(shared_data):
    campus = read_truth(shared_data / "mot15_tud_campus")
    assert campus.kind == "mot"
    assert (campus.width, campus.height) == (640, 480)
    assert sorted(campus.objects) == list(range(71))
    first = campus.objects[0]
    assert first[0].box_xyxy == (398, 181, 519, 410)
    assert "person" in campus.labelled
    assert sum(map(len, campus.objects.values())) == 359
    pets = read_truth(shared_data / "mot15_pets09_s2l1" / "gt" / "gt.txt")
    rows = np.loadtxt(shared_data / "mot15_pets09_s2l1" / "gt" / "gt.txt", delimiter=",")
    assert sum(map(len, pets.objects.values())) == (rows[:, 6] != 0).sum()
    pets.check(768, 576, 795)


def test_mot17_pedestrians_count_and_lookalikes_are_ignored(shared_data):
    truth = read_truth(shared_data / "mot17_mini" / "MOT17-02-FRCNN")
    objects = [o for frame in truth.objects.values() for o in frame]
    rows = np.loadtxt(
        shared_data / "mot17_mini" / "MOT17-02-FRCNN" / "gt" / "gt.txt", delimiter=","
    )
    assert sum(not o.ignored for o in objects) == ((rows[:, 6] == 1) & (rows[:, 7] == 1)).sum()
    assert sum(o.ignored for o in objects) == np.isin(rows[:, 7], (2, 7, 8, 12)).sum()
    truth.check(1920, 1080, 4)  # the folder has 4 frames though seqinfo.ini says 600


def test_one_box_a_frame(shared_data):
    truth = read_truth(shared_data / "sot_otb_crossing")
    assert truth.frame_count == 120
    assert truth.objects[0][0].box_xyxy == (205, 151, 222, 201)
    assert truth.labelled == frozenset()


def test_davis_masks(shared_data):
    folder = shared_data / "davis2016" / "Annotations" / "480p" / "dog"
    truth = read_truth(folder)
    assert (truth.kind, truth.instances, truth.width, truth.height) == ("masks", False, 854, 480)
    image = cv2.imread(str(folder / "00007.png"), cv2.IMREAD_UNCHANGED)
    (item,) = truth.objects[7]
    np.testing.assert_array_equal(decode_mask(item.mask_rle), image > 0)


def test_indexed_masks_are_instances_and_gaps_in_numbers_are_kept(tmp_path):
    for number in (10, 15):
        mask = np.zeros((20, 30), np.uint8)
        mask[2:6, 3:9], mask[10:14, 20:25] = 1, 2
        cv2.imwrite(str(tmp_path / f"{number:05d}.png"), mask)
    truth = read_truth(tmp_path)
    assert truth.instances
    assert sorted(truth.objects) == [10, 15]
    assert [o.box_xyxy for o in truth.objects[15]] == [(3, 2, 9, 6), (20, 10, 25, 14)]


def test_flo_pair_marks_unknown_pixels(shared_data):
    truth = read_truth(shared_data / "middlebury_flow" / "RubberWhale")
    points = pixel_centres(584, 388)
    flow, known = truth.flow(0, 1, points)
    flow, known = flow.reshape(388, 584, 2), known.reshape(388, 584)
    expected = cv2.readOpticalFlow(
        str(shared_data / "middlebury_flow" / "RubberWhale" / "flow10.flo")
    )
    assert truth.frame_count == 2
    np.testing.assert_array_equal(known, (np.abs(expected) < 1e9).all(axis=-1))
    np.testing.assert_array_equal(flow[known], expected[known])
    assert truth.flow(0, 2, points) is None


def test_depth_with_poses_counts_its_first_file_as_frame_zero(shared_data):
    folder = shared_data / "rgbd_pose_7scenes_redkitchen_a"
    truth = read_truth(folder)
    truth.check(640, 480, 120)
    depth, known = truth.depth(0)
    image = cv2.imread(str(folder / "depth_registered" / "000500.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depth, image / 1000, rtol=1e-6)
    assert not known[image == 0].any()
    poses = np.loadtxt(folder / "poses_color_cam2world.txt").reshape(-1, 4, 4)
    np.testing.assert_allclose(truth.camera_step(3, 9), np.linalg.inv(poses[3]) @ poses[9])
    assert truth.frames[0].intrinsics.fx == 525
    assert set(truth.parts()) == {"camera", "depth"}


def test_depth_stills_use_their_own_scale(shared_data):
    folder = shared_data / "metric_depth_stills"
    kitti = read_truth(folder / "kitti_demo")
    raw = cv2.imread(str(folder / "kitti_demo/depth/0000000005.png"), cv2.IMREAD_UNCHANGED)
    depth, known = kitti.depth(0)
    np.testing.assert_allclose(depth[known], raw[raw > 0] / 256, rtol=1e-6)
    assert kitti.frames[0].intrinsics.fx == pytest.approx(707.0493)
    assert read_truth(folder / "nyu_demo").frame_count == 3
    still = read_truth(folder / "unidepth_demo" / "depth.png")
    assert still.frames[0].intrinsics.cx == pytest.approx(325.58246)
    assert read_truth(folder / "fastdepth_nyu" / "depth.npy").depth(0)[0].shape == (224, 224)


def test_realestate_poses_are_inverted_to_camera_to_world(shared_data):
    path = shared_data / "realestate10k_clips" / "0f47577ab3441480.txt"
    truth = read_truth(path, (384, 256))
    row = np.array(path.read_text().splitlines()[1].split(), float)
    to_camera = np.vstack([row[7:].reshape(3, 4), [0, 0, 0, 1]])
    np.testing.assert_allclose(truth.frames[0].camera_to_world_44 @ to_camera, np.eye(4), atol=1e-6)
    assert truth.frames[0].intrinsics.fx == pytest.approx(0.50765091 * 384)
    assert not truth.metric
    truth.check(384, 256, 16)
    with pytest.raises(TruthError, match="size"):
        read_truth(path)


def test_kitti_depth_alone_is_known_by_its_shape(shared_data):
    raw = shared_data / "metric_depth_stills" / "kitti_demo" / "depth"
    depth, known = read_truth(raw).depth(0)
    assert 4 < np.median(depth[known]) < 30
    assert read_truth(shared_data / "metric_depth_stills/nyu_demo/depth").depth(0)[0].max() < 11


def test_frame_by_frame_files_of_seven_scenes(tmp_path):
    for i in range(3):
        stem = tmp_path / f"frame-{i + 40:06d}"
        cv2.imwrite(f"{stem}.depth.png", np.full((20, 30), 1500 + i, np.uint16))
        cv2.imwrite(f"{stem}.color.png", np.zeros((20, 30, 3), np.uint8))
        pose = np.eye(4)
        pose[0, 3] = 0.1 * i
        np.savetxt(f"{stem}.pose.txt", pose)
    truth = read_truth(tmp_path)
    assert truth.frame_count == 3
    assert truth.depth(1)[0][0, 0] == pytest.approx(1.501)
    assert truth.camera_step(0, 2)[0, 3] == pytest.approx(0.2)


def test_polygons_and_plain_cut_lists(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("10,10,30,12,28,40,8,38\n11,10,31,12,29,40,9,38\n")
    assert read_truth(tmp_path).objects[1][0].box_xyxy == (9, 10, 31, 40)
    (tmp_path / "cuts.txt").write_text("30\n76\n")
    (tmp_path / "cuts.json").write_text("[30, 76]")
    for name in ("cuts.txt", "cuts.json"):
        assert [t.first for t in read_truth(tmp_path / name).transitions] == [30, 76]


def test_soft_edges_do_not_make_objects(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:40] = 255
    mask[10, 10:40] = 190
    cv2.imwrite(str(tmp_path / "00000.png"), mask)
    truth = read_truth(tmp_path)
    assert not truth.instances
    assert truth.objects[0][0].box_xyxy == (10, 10, 40, 30)


def test_trajectories_agree_between_formats(shared_data, tmp_path):
    kitti = read_truth(shared_data / "trajectory_metrics_evo" / "KITTI_00_gt.txt")
    assert kitti.frame_count == len(kitti.frames) > 1000
    rows = np.array([[0.0, 1, 2, 3, 0, 0, np.sin(0.3), np.cos(0.3)], [0.1, 1, 2, 4, 0, 0, 0, 1]])
    np.savetxt(tmp_path / "tum.txt", rows)
    truth = read_truth(tmp_path / "tum.txt")
    expected = cv2.Rodrigues(np.array([0, 0, 0.6]))[0]
    np.testing.assert_allclose(truth.frames[0].camera_to_world_44[:3, :3], expected, atol=1e-9)
    assert truth.frames[1].pts == pytest.approx(0.1)


def test_cut_lists(shared_data, tmp_path):
    bikes = read_truth(shared_data / "shots_bikes")
    assert [t.first for t in bikes.transitions] == [30, 76, 137, 187, 242]
    assert bikes.frame_count == 250
    resources = shared_data / "pyscenedetect_resources"
    eye = read_truth(resources / "testvideo_transitions.json")
    assert eye.transitions[0] == Transition(30, 30)
    assert Transition(529, 557) in eye.transitions
    short = read_truth(resources / "testvideo_scenes.csv")
    assert [t.first for t in short.transitions] == [201, 382]
    golden = read_truth(resources / "goldens" / "fades.mp4.ThresholdDetector.default.json")
    assert [t.first for t in golden.transitions] == [84, 167]
    listed = tmp_path / "scenes.csv"
    listed.write_text(
        "Timecode List:,00:00:01.000\nScene Number,Start Frame,Start Timecode\n"
        "1,1,00:00:00.000\n2,31,00:00:01.000\n"
    )
    assert read_truth(listed).transitions == (Transition(30, 30),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "hello\nworld\n", "no ground truth"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "no ground truth"),
        ("a.json", '{"transitions": [{"kind": "cut"}]}', "says no frame"),
        ("a.flo", "PIEH" + "\x01\x00\x00\x00\x02\x00\x00\x00", "ends early"),
        ("a.flo", "nope", "PIEH"),
        ("det.txt", "1,-1,2,3,4,5,0.9,-1,-1,-1\n", "not det.txt"),
        ("gt.txt", "0,1,2,3,4,5,1,-1,-1,-1\n", "from 1"),
        ("gt.txt", "1,1,2,3,0,5,1,-1,-1,-1\n", "positive"),
        ("poses.txt", " ".join(["2"] * 12) + "\n", "not a rigid motion"),
        ("a.png", "not an image", "no ground truth"),
    ],
)
def test_wrong_files_say_what_is_wrong(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(TruthError, match=message):
        read_truth(tmp_path / name)


def test_missing_and_empty_places(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(TruthError, match="give a simulator's recording"):
            read_truth(place)
    (tmp_path / "truth.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(TruthError, match="version 99"):
        read_truth(tmp_path)


def test_truth_of_another_video_is_refused(shared_data):
    truth = read_truth(shared_data / "sot_otb_crossing")
    with pytest.raises(TruthError, match="another video"):
        truth.check(360, 240, 119)
    campus = read_truth(shared_data / "mot15_tud_campus")
    with pytest.raises(TruthError, match="640x480"):
        campus.check(320, 240, 71)
    with pytest.raises(TruthError, match="labels frame 70"):
        campus.check(640, 480, 70)
