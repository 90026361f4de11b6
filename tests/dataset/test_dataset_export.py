"""Every export is read back by the tool that others would read it with."""

import configparser
import json
import os
import subprocess
import sys
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_dataset as shared
from pycocotools.coco import COCO

from stpe.dataset import Dataset, DatasetWriter, open_dataset
from stpe.dataset.export import FORMATS, draw, export
from stpe.dataset.export.scene import scenes
from stpe.dataset.export.sheet import contact_sheet
from stpe.errors import DatasetError, UsageError
from stpe.rle import decode_mask

N = shared.FRAMES // shared.STEP


def test_parquet_holds_every_row_and_the_media(dataset: Dataset, tmp_path: Path):
    out = export(dataset, "parquet", tmp_path / "pq")
    manifest = json.loads((out / "manifest.json").read_text())
    card = (out / "README.md").read_text()
    assert "license:" in card.split("---")[1]
    assert "| detector | m | MIT |" in card
    assert "| box_xyxy | px |" in card
    assert str(dataset.path.parent) not in card
    asked = export(dataset, "parquet", tmp_path / "paths", local_paths=True)
    uris = pq.read_table(asked / "data" / "videos.parquet")["uri"]
    assert uris.equals(dataset.arrow("videos")["uri"])
    for table, rows in dataset.tables.items():
        path = out / "data" / f"{table}.parquet"
        assert path.exists() == bool(rows)
        if rows:
            assert manifest["tables"][table]["rows"] == rows
            ours = dataset.arrow(table)
            if table == "videos":  # of a path, the file's name alone is published
                assert all("/" in uri for uri in ours["uri"].to_pylist())
                names = [Path(uri).name for uri in ours["uri"].to_pylist()]
                place = ours.schema.get_field_index("uri")
                ours = ours.set_column(place, ours.schema.field("uri"), pa.array(names))
            assert pq.read_table(path, columns=ours.column_names).equals(ours)
    assert pq.read_schema(out / "data" / "objects.parquet").field("box_xyxy").metadata[b"unit"]
    for video in pq.read_table(out / "data" / "videos.parquet").to_pylist():
        assert (out / video["file_name"]).read_bytes() == dataset.media(
            video["video_id"]
        ).read_bytes()


def test_parquet_loads_with_hugging_face(dataset: Dataset, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    out = export(dataset, "parquet", tmp_path / "pq")
    frames = datasets.load_dataset(
        str(out), "frames", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(frames) == 2 * N
    assert np.asarray(frames[3]["embedding"]).shape == (8,)
    videos = datasets.load_dataset(str(out), "videos", split="train", cache_dir=str(tmp_path / "c"))
    assert (out / videos[0]["file_name"]).exists()


def test_coco_loads_and_masks_agree(dataset: Dataset, tmp_path: Path):
    out = export(dataset, "coco", tmp_path / "coco")
    coco = COCO(str(out / "annotations.json"))
    assert len(coco.imgs) == 2 * N
    assert {c["name"] for c in coco.cats.values()} == {"person", "chair"}
    person = next(c for c in coco.cats.values() if c["name"] == "person")
    assert (len(person["keypoints"]), len(person["skeleton"])) == (17, 19)
    assert {n for bone in person["skeleton"] for n in bone} == set(range(1, 18))
    rows = dataset.arrow("objects").to_pylist()
    assert len(coco.anns) == len(rows)
    for ann, row in zip(coco.anns.values(), rows, strict=True):
        image = coco.imgs[ann["image_id"]]
        assert (image["video_id"], image["frame_index"]) == (row["video_id"], row["frame_index"])
        np.testing.assert_array_equal(coco.annToMask(ann) > 0, decode_mask(row["mask_rle"]))
        x0, y0, x1, y1 = row["box_xyxy"]
        assert ann["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert (ann["track_id"], coco.cats[ann["category_id"]]["name"]) == (
            row["track_id"],
            row["label"],
        )
        assert (out / "images" / image["file_name"]).exists()


def test_mot_lines_follow_the_benchmark(dataset: Dataset, tmp_path: Path):
    out = export(dataset, "mot", tmp_path / "mot")
    for text in sorted(set(out.glob("*.txt")) - {out / "labels.txt"}):
        table = np.loadtxt(text, delimiter=",")
        assert table.shape == (2 * N, 10)  # one object was unseen in one frame
        assert table[0, :6].tolist() == [1, 1, 11, 21, 24, 24]
        classes = {int(track): set(table[table[:, 1] == track, 7]) for track in set(table[:, 1])}
        assert classes == {1: {1}, 2: {14}}
        assert sorted(set(table[:, 0])) == list(range(1, N + 1))
        info = configparser.ConfigParser()
        info.read(out / text.stem / "seqinfo.ini")
        assert info["Sequence"]["name"] == text.stem
        assert int(info["Sequence"]["seqLength"]) == N
        assert int(info["Sequence"]["frameRate"]) == 4
        times = [float(line) for line in (out / text.stem / "pts.txt").read_text().split()]
        assert times[:2] == [0.5, 0.75]
    assert (out / "labels.txt").read_text() == "14 chair\n1 person\n"
    persons = export(dataset, "mot", tmp_path / "persons", labels=["person"])
    for text in sorted(set(persons.glob("*.txt")) - {persons / "labels.txt"}):
        assert set(np.loadtxt(text, delimiter=",")[:, 1]) == {1}
    with pytest.raises(UsageError, match="no object is called cat; there are chair, person"):
        export(dataset, "mot", tmp_path / "cats", labels=["cat"])
    with pytest.raises(UsageError, match="no option labels"):
        export(dataset, "coco", tmp_path / "cats", labels=["cat"])


def played(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [float(f.pts * f.time_base) for f in frames]
    return times, [f.to_ndarray(format="rgb24").astype(int) for f in frames]


def test_video_has_every_frame_at_its_time_and_boxes_go_along(dataset: Dataset, tmp_path: Path):
    out = export(dataset, "video", tmp_path / "video")
    files = sorted(out.glob("*.mp4"))
    assert [f.stem for f in files] == sorted(s.name for s in scenes(dataset))
    with av.open(str(files[0])) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == shared.RATE
        assert float(stream.duration * stream.time_base) == pytest.approx(3.0, abs=1e-3)
    times, pictures = played(files[0])
    assert times == pytest.approx([n / shared.RATE for n in range(shared.FRAMES)], abs=1e-4)
    # The names' chips and the caption band were drawn: the picture is taller than the source's.
    height, width, _ = pictures[0].shape
    assert height > width * shared.HEIGHT / shared.WIDTH
    scale = width / shared.WIDTH

    def tint(number: int) -> int:
        """How far the red square's right edge is from its own colour."""
        x, y = round((2 * number + 31) * scale), round(40 * scale)
        return int(np.abs(pictures[number][y, x] - [230, 40, 40]).max())

    assert tint(12) > 25  # analysed
    assert tint(13) > 25  # between two of one shot: the mask has moved on with the square
    assert tint(16) < 25  # a cut lies between the analysed frames before and after
    assert tint(19) > 25


def test_a_part_of_a_video_keeps_its_times_and_rate(dataset: Dataset, tmp_path: Path):
    first, second = dataset.videos
    part = {"videos": [first[:8]], "since_s": 1.0, "until_s": 2.5}
    times, _ = played(export(dataset, "video", tmp_path / "a.mp4", **part))
    assert times == pytest.approx([n / shared.RATE for n in range(18)], abs=1e-4)
    times, _ = played(export(dataset, "video", tmp_path / "b.mp4", **part, fps=6.0))
    assert times == pytest.approx([n / 6 for n in range(9)], abs=1e-4)
    coco = json.loads(
        (export(dataset, "coco", tmp_path / "coco", **part, fps=2.0) / "annotations.json")
        .read_text()
    )  # fmt: skip
    assert [(i["video_id"], i["pts"]) for i in coco["images"]] == [
        (first, 1.0), (first, 1.5), (first, 2.0)
    ]  # fmt: skip
    analysis = export(dataset, "analysis", tmp_path / "a.json", **part)
    found = json.loads(analysis.read_text())
    assert [f["timestamp"] for f in found["frames"]] == [1.0, 1.25, 1.5, 1.75, 2.0, 2.25]
    assert [event["type"] for event in found["key_events"]] == ["starts"]
    shards = export(dataset, "webdataset", tmp_path / "wds", **part)
    with tarfile.open(next(shards.glob("*.tar"))) as tar:
        keys = {name.split(".")[0] for name in tar.getnames()}
    assert keys == {f"{first}-{n:08d}" for n in range(6, 24, 3)}
    tables = export(dataset, "parquet", tmp_path / "pq", videos=[second])
    assert pq.read_table(tables / "data" / "objects.parquet")["video_id"].unique().to_pylist() == [
        second
    ]
    assert len(list((tables / "videos").iterdir())) == 1
    for format_, asked, said in (
        ("parquet", {"since_s": 1.0}, "--since and --until do not apply to parquet"),
        ("parquet", {"fps": 1.0}, "--fps does not apply to parquet"),
        ("sheet", {"fps": 1.0}, "--fps does not apply to sheet"),
        ("mot", {"fps": 10.0}, "at most 4 frames a second were analysed"),
        ("mot", {"fps": -1.0}, "give a rate above 0"),
        ("mot", {"since_s": 2.0, "until_s": 1.0}, "is not after"),
        ("video", {"until_s": float("nan")}, "--until nan: give seconds"),
        ("mot", {"videos": ["no"]}, "no video begins with 'no'"),
    ):
        with pytest.raises(UsageError, match=said):
            export(dataset, format_, tmp_path / "none", **asked)
    for format_ in ("video", "coco"):
        with pytest.raises(DatasetError, match=r"goes from 0\.5 s to 3\.5 s"):
            export(dataset, format_, tmp_path / "none", since_s=9.0)


@pytest.mark.parametrize(("codec", "name", "kept"), [
    ("aac", "a.mp4", "aac"), ("libopus", "a.mkv", "opus"), ("libmp3lame", "a.mkv", "mp3"),
    ("pcm_s16le", "a.mkv", "aac"),
])  # fmt: skip
def test_sound_stays_with_the_picture(tmp_path: Path, codec: str, name: str, kept: str):
    """A beep that begins with the second half of the pictures, which begin at 0.5 s."""
    clip = tmp_path / name
    with av.open(str(clip), "w") as container:
        video = container.add_stream("libx264", rate=shared.RATE)
        video.width, video.height, video.pix_fmt = shared.WIDTH, shared.HEIGHT, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1200)
        sound = container.add_stream(codec, rate=48000)
        for number in range(shared.FRAMES):
            frame = av.VideoFrame.from_ndarray(shared.picture(number, 0), format="rgb24")
            frame.pts, frame.time_base = 600 + number * 100, Fraction(1, 1200)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = np.sin(np.arange(4 * 48000) * 0.1) * (np.arange(4 * 48000) >= 2 * 48000)
        for start in range(0, len(wave), 960):
            part = (wave[None, start : start + 960] * 20000).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            heard.rate, heard.pts, heard.time_base = 48000, start, Fraction(1, 48000)
            container.mux(sound.encode(heard))
        container.mux(sound.encode())
    with DatasetWriter(tmp_path / "ds") as writer:
        shared.add(writer, clip, 0)
    out = export(open_dataset(tmp_path / "ds"), "video", tmp_path / "out.mp4", until_s=3.0)
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.codec.canonical_name == kept
        frames = list(container.decode(stream))
    loud = [np.abs(f.to_ndarray().astype(float)).max() for f in frames]
    peak = max(loud)
    begin = next(f.time for f, level in zip(frames, loud, strict=True) if level > peak / 2)
    assert begin == pytest.approx(1.5, abs=0.06)
    assert frames[-1].time == pytest.approx(2.5, abs=0.08)


@pytest.mark.parametrize("width", [360, 640, 1280])
def test_captions_are_whole_and_end_before_the_edge(width: int):
    text = "The player is moving at 137 map units/s while MOVE_LEFT and TURN_RIGHT are held. " * 3
    image = np.zeros((8, width, 3), np.uint8)
    lines = draw.lines_of(["short", text], width)
    size = max(12, round(width / 48))
    assert " ".join(draw.wrapped(text, width - size, size, lines)) == text.strip()
    picture = draw.captioned(image, "", text, lines)
    band = picture[8:].astype(int)
    assert (band[:, -size // 4 :] == band[0, 0]).all()


def test_sheet_is_a_grid_of_drawn_frames(dataset: Dataset, tmp_path: Path):
    sheet = contact_sheet(dataset, dataset.videos[0], columns=2, rows=2, width=320)
    assert sheet.shape[1] == 2 * 320 + 3 * 8
    assert sheet.dtype == np.uint8
    with pytest.raises(UsageError, match="make --out a folder"):
        export(dataset, "sheet", tmp_path / "one.png")


def rrd(command: str, path: Path, *options: str) -> str:
    asked = [sys.executable, "-m", "rerun", "rrd", command, str(path), *options]
    environment = {**os.environ, "HOME": str(path.parent)}
    run = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_rerun_file_has_every_signal(dataset: Dataset, tmp_path: Path):
    pytest.importorskip("rerun")
    out = export(dataset, "rerun", tmp_path / "all.rrd", videos=dataset.videos[:1], until_s=2.5)
    rrd("verify", out)
    printed = rrd("print", out, "-vv")
    for entity in ("frame", "boxes", "masks", "joints", "caption", "events", "velocity", "depth",
                   "flow", "flow/uv", "path/0/camera", "path/1/line"):  # fmt: skip
        assert f"/{next(scenes(dataset)).name}/{entity}" in printed
    for component in ("DepthImage:meter", "Points2D:keypoint_ids", "Transform3D:translation",
                      "Tensor:data", "Clear:is_recursive"):  # fmt: skip
        assert component in printed
    assert dataset.videos[1][:8] not in printed


def test_webdataset_samples_are_whole(dataset: Dataset, tmp_path: Path):
    wds = pytest.importorskip("webdataset")
    out = export(dataset, "webdataset", tmp_path / "wds")
    shards = sorted(str(p) for p in out.glob("*.tar"))
    samples = list(wds.WebDataset(shards, shardshuffle=False).decode())
    rows = dataset.arrow("frames").to_pylist()
    assert len(samples) == len(rows)
    for sample, row in zip(samples, rows, strict=True):
        assert sample["__key__"] == f"{row['video_id']}-{row['frame_index']:08d}"
        assert sample["json"]["pts"] == row["pts"]
        np.testing.assert_array_equal(sample["embedding.npy"], np.float32(row["embedding"]))
        assert sample["dense.npy"].shape == (3, 5, 4)
    many = export(dataset, "webdataset", tmp_path / "many", shard_mb=0.05)
    assert len(list(many.glob("*.tar"))) > 3


def keys_of(value, path="") -> set[str]:
    if isinstance(value, dict):
        return {f"{path}.{k}" for k in value} | {
            k for name, v in value.items() for k in keys_of(v, f"{path}.{name}")
        }
    if isinstance(value, list):
        return {k for v in value for k in keys_of(v, f"{path}[]")}
    return set()


def test_analysis_has_the_prototypes_fields(dataset: Dataset, tmp_path: Path, shared_data: Path):
    folder = shared_data / "prototype_outputs"
    theirs: set[str] = set()
    for path in folder.glob("*.json"):
        theirs |= {k for k in keys_of(json.loads(path.read_text())) if "roblox_metadata." not in k}
    out = export(dataset, "analysis", tmp_path / "analysis")
    ours = json.loads(sorted(out.glob("*.json"))[0].read_text())
    assert theirs <= keys_of(ours)
    assert (ours["key_events"][0]["object"], ours["key_events"][0]["direction"]) == (
        "person", "right"
    )  # fmt: skip
    assert keys_of(ours) - theirs <= {".frames[].roblox_metadata.speed"}
    frame = ours["frames"][2]
    assert frame["timestamp"] == 1.0
    assert frame["roblox_metadata"] == {"speed": 3}
    assert frame["objects"][0]["bbox"] == [22, 20, 46, 44]
    assert frame["tracks"][0] == {
        "track_id": 1, "bbox": [22, 20, 46, 44], "velocity": 24.0, "direction": 0.0
    }  # fmt: skip
    assert ours["tracked_objects"][1]["movement_type"] == "stationary"
    assert ours["stats"]["total_objects_detected"] == 2 * N - 1


def test_exports_are_atomic_and_spare_other_files(dataset: Dataset, tmp_path: Path, clips):
    with pytest.raises(UsageError, match="there are parquet"):
        export(dataset, "avi", tmp_path / "x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(DatasetError, match="other files"):
        export(dataset, "mot", tmp_path / "mine")
    first = export(dataset, "mot", tmp_path / "mot")
    content = {p.name: p.read_bytes() for p in first.glob("*.txt")}
    assert {p.name: p.read_bytes() for p in export(dataset, "mot", first).glob("*.txt")} == content

    with DatasetWriter(tmp_path / "ds") as writer:
        empty = open_dataset(tmp_path / "ds")
        video = shared.add(writer, clips[0], 0)
    for format_ in FORMATS:
        with pytest.raises(DatasetError, match="no video"):
            export(empty, format_, tmp_path / "e")
    ds = open_dataset(tmp_path / "ds")
    assert export(ds, "video", tmp_path / "one.mp4").is_file()
    assert export(ds, "analysis", tmp_path / "analysis.json").is_file()
    next((tmp_path / "ds" / "media").glob(f"{video}*")).unlink()
    with pytest.raises(DatasetError, match="media"):
        export(ds, "coco", tmp_path / "coco")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "analysis.json", "ds", "mine", "mot", "one.mp4"
    ]  # fmt: skip
