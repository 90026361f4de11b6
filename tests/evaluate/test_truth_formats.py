"""Truth is never guessed: names and declared formats decide, and what is taken is said."""

import json

import cv2
import numpy as np
import pytest

from stpe.errors import TruthError, UsageError
from stpe.evaluate.labels.recognise import read_truth

W_LAST, W_FIRST = "0 0 0 1", "1 0 0 0"
ROWS = {
    "mot-8": "".join(f"{i + 1},1,{10.5 + i},20.25,40,60,1,1\n" for i in range(9)),
    "visdrone": "".join(f"{i + 1},1,{10 + i},20,40,60,1,4,0,0\n" for i in range(9)),
    "mot-6": "".join(f"{i + 1} 3 {10 + i} 20 40 60\n" for i in range(9)),
    "kitti": "".join(
        f"{i} 2 Car 0 0 -1.5 {10 + i} 20 50 80 1.5 1.6 3.7 1 2 30 -1.5\n"
        f"{i} -1 DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
        for i in range(9)
    ),
}


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("rows", "declared", "label", "box"),
    [
        ("mot-8", "mot-8", "person", (9.5, 19.25, 49.5, 79.25)),
        ("visdrone", "visdrone", "car", (10, 20, 50, 80)),
        ("mot-6", "mot", "person", (9, 19, 49, 79)),
        ("kitti", "kitti", "car", (10, 20, 50, 80)),
        ("kitti", None, "car", (10, 20, 50, 80)),
    ],
)
def test_rows_of_a_declared_format(tmp_path, rows, declared, label, box):
    truth = read_truth(write(tmp_path, "labels.txt", ROWS[rows]), declared=declared)
    first = [o for o in truth.objects[0] if not o.ignored]
    assert [(o.label, o.box_xyxy) for o in first] == [(label, box)]
    assert label in truth.labelled
    assert truth.read_as


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", ROWS["mot-8"], "mot-8, polygons or tum"),
        ("groundtruth.txt", ROWS["mot-8"], "mot-8, polygons or tum"),
        ("a.txt", ROWS["visdrone"], "--truth-format visdrone"),
        ("a.txt", ROWS["mot-6"], "--truth-format mot"),
        ("a.txt", "1,1,10,20,40,60,7\n", "no flag or score"),
        ("gt.txt", "1,1,10,20,40,60,1,2,3\n", "another format"),
        ("a.json", '{"cuts": [1.5, 3.2]}', "cuts-seconds"),
        ("a.json", '{"cuts": [2.0, 5.0]}', "cuts-seconds"),
        ("a.json", '{"transitions": [{"first": 2.5, "last": 3.5}]}', "whole numbers"),
        ("a.json", "[1.5, 3.2]", "whole numbers"),
        ("a.txt", "1.5\n3.2\n", "cuts-seconds"),
        ("a.txt", f"0 1 2 3 {W_FIRST}\n1 1 2 3 {W_FIRST}\n", "w first"),
        ("a.txt", f"0 1 2 3 {W_FIRST}\n1 1 2 3 0.8 0 0.6 0\n2 1 2 3 0.6 0 0.8 0\n", "w first"),
        ("a.json", '{"annotations": [], "categories": []}', "YouTube-VIS"),
        ("a.csv", "frame,id,x,y,w,h,class\n0,1,2,3,4,5,7\n", "classes are numbers"),
    ],
)
def test_what_may_be_several_things_is_refused(tmp_path, name, text, says):
    with pytest.raises(TruthError, match=says):
        read_truth(write(tmp_path, name, text))


def test_a_declared_format_must_fit(tmp_path):
    path = write(tmp_path, "a.txt", ROWS["mot-8"])
    with pytest.raises(TruthError, match="rows of 8"):
        read_truth(path, declared="visdrone")
    with pytest.raises(TruthError, match="quaternion"):
        read_truth(path, declared="tum")
    with pytest.raises(UsageError, match="no truth format"):
        read_truth(path, declared="yolo")


def test_headers_name_columns(tmp_path):
    boxes = "id;class;frame;xmin;ymin;xmax;ymax\n7;Dog;1;10;20;50;80\n7;Dog;2;11;20;51;80\n"
    truth = read_truth(write(tmp_path, "boxes.csv", boxes))
    assert truth.objects[0][0].box_xyxy == (10, 20, 50, 80)
    assert truth.labelled == {"dog"}
    assert any("from 1" in said for said in truth.read_as)
    poses = {}
    for order, numbers in (("x y z w", W_LAST), ("w x y z", W_FIRST)):
        header = "# timestamp tx ty tz " + " ".join(f"q{a}" for a in order.split())
        text = f"{header}\n0 1 2 3 {numbers}\n1 1 2 4 {numbers}\n"
        truth = read_truth(write(tmp_path, "poses.txt", text))
        poses[order] = truth.frames[1].camera_to_world_44
        assert truth.frames[1].pts == 1
    np.testing.assert_array_equal(*poses.values())
    bare = read_truth(write(tmp_path, "bare.txt", f"0 1 2 3 {W_LAST}\n1 1 2 4 {W_LAST}\n"))
    assert any("qx qy qz qw last" in said for said in bare.read_as)


def test_cuts_in_seconds_where_they_are_declared(tmp_path):
    times = [1.4 + t for t in (0, 0.1, 0.2, 0.5, 0.6, 0.7)]
    for name, text, declared in (
        ("a.json", '{"cuts": [0.5]}', "cuts-seconds"),
        ("b.json", '{"unit": "seconds", "cuts": [0.5]}', None),
        ("c.json", '{"cuts_s": [0.5]}', None),
        ("d.txt", "0.5\n", "cuts-seconds"),
    ):
        path = write(tmp_path, name, text)
        truth = read_truth(path, declared=declared, times=times)
        assert [t.first for t in truth.transitions] == [3]
        with pytest.raises(TruthError, match="need the times of all frames"):
            read_truth(path, declared=declared)
    with pytest.raises(TruthError, match="after the video's end"):
        read_truth(write(tmp_path, "a.json", "[9.5]"), declared="cuts-seconds", times=times)


@pytest.mark.parametrize(
    ("numbers", "count", "first", "said"),
    [
        (range(10, 15), None, 10, "begin at number 10"),
        (range(10, 15), 15, 10, "begin at number 10"),
        (range(10, 15), 5, 0, "number 10, was taken for the first frame"),
        (range(1, 6), 5, 0, "number 1, was taken"),
        (range(1, 6), None, 0, "numbered from 1"),
        (range(1, 6), 9, 0, "one frame early"),
        (range(3, 6), 5, 2, "numbered from 1"),
        (range(5), 9, 0, None),
    ],
)
def test_masks_keep_their_own_numbers(tmp_path, numbers, count, first, said):
    for n in numbers:
        mask = np.zeros((20, 30), np.uint8)
        mask[2:6, 3:9] = 1
        cv2.imwrite(str(tmp_path / f"{n:05d}.png"), mask)
    truth = read_truth(tmp_path, frame_count=count)
    assert min(truth.objects) == first
    assert any(said in text for text in truth.read_as) if said else len(truth.read_as) == 1


def test_sixteen_bits_are_depth_only_where_something_says_so(tmp_path):
    (tmp_path / "out").mkdir()
    ids = np.zeros((20, 30), np.uint16)
    ids[2:6, 3:9], ids[10:14, 20:25], ids[0] = 1001, 2003, 10000
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"out/{i:06d}.png"), ids)
    with pytest.raises(TruthError, match="ids, kitti-mots, depth-mm"):
        read_truth(tmp_path / "out")
    truth = read_truth(tmp_path / "out", declared="kitti-mots")
    assert [(o.identity, o.label, o.ignored) for o in truth.objects[1]] == [
        (1001, "car", False), (2003, "person", False), (10000, "ignored", True)]  # fmt: skip
    assert truth.objects[0][0].box_xyxy == (3, 2, 9, 6)
    assert len(read_truth(tmp_path / "out", declared="ids").objects[0]) == 3
    for declared, scale in (("depth-mm", 1000), ("depth-tum", 5000), ("depth-kitti", 256)):
        depth, _ = read_truth(tmp_path / "out", declared=declared).depth(0)
        assert depth[3, 4] == pytest.approx(1001 / scale)
    (tmp_path / "disparity").mkdir()
    np.save(tmp_path / "disparity/000000.npy", np.ones((20, 30), np.float32))
    with pytest.raises(TruthError, match="depth-npy"):
        read_truth(tmp_path / "disparity/000000.npy")
    np.save(tmp_path / "depth.npy", np.full((20, 30), 2500.0, np.float32))
    with pytest.raises(TruthError, match="in what unit"):
        read_truth(tmp_path / "depth.npy")


def test_what_was_taken_is_in_the_scorecard(tmp_path, capsys):
    from stpe import cli

    rng = np.random.default_rng(0)
    (tmp_path / "clip").mkdir()
    for i in range(6):
        picture = rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"clip/{i}.png"), picture)
    out = str(tmp_path / "ds")
    ask = ["--signals", "shots", "--profile", "embedded"]
    assert cli.run(["process", str(tmp_path / "clip"), "--out", out, *ask]) == 0
    cuts = write(tmp_path, "cuts.json", "[3]")
    capsys.readouterr()
    assert cli.run(["evaluate", out, "--truth", str(cuts), "--json"]) == 0
    shown = capsys.readouterr()
    assert any("counted from 0" in t for t in json.loads(shown.out)["truth_read_as"])
    assert "truth: cuts are frame numbers" in shown.err
    assert cli.run(["evaluate", out, "--truth", str(cuts), "--truth-format", "mot"]) == 1
    assert "TruthError" not in capsys.readouterr().err
