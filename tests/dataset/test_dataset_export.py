"""Every export is read back by the tool that others would read it with."""

import configparser
import json
import os
import subprocess
import sys
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


def test_video_has_true_times_and_shows_the_object(dataset: Dataset, tmp_path: Path):
    out = export(dataset, "video", tmp_path / "video")
    files = sorted(out.glob("*.mp4"))
    assert [f.stem for f in files] == sorted(s.name for s in scenes(dataset))
    with av.open(str(files[0])) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = list(container.decode(stream))
    assert len(frames) == N
    times = [float(f.pts * f.time_base) for f in frames]
    assert times == pytest.approx([n * 0.25 for n in range(N)], abs=1e-4)
    # The names' chips and the caption band were drawn: the picture is taller than the source's.
    assert frames[0].height > frames[0].width * shared.HEIGHT / shared.WIDTH
    picture = frames[4].to_ndarray(format="rgb24").astype(int)
    scale = frames[0].width / shared.WIDTH
    x, y = round((12 * 2 + 10 + 20) * scale), round(40 * scale)
    plain = np.array([230, 40, 40])
    assert np.abs(picture[y, x] - plain).max() > 25


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


def test_rerun_file_is_whole(dataset: Dataset, tmp_path: Path):
    pytest.importorskip("rerun")
    out = export(dataset, "rerun", tmp_path / "all.rrd")
    environment = {**os.environ, "HOME": str(tmp_path)}
    for command in ("verify", "print"):
        run = subprocess.run(
            [sys.executable, "-m", "rerun", "rrd", command, str(out)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    for entity in ("frame", "boxes", "masks", "caption", "events", "velocity"):
        assert f"/{entity}" in run.stdout


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
