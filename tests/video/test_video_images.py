"""Folders of images and ZIPs of frames with state."""

import json
import zipfile
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import number, numbered

from stpe.errors import SourceError, SourceLimitError
from stpe.video import Grid, Limits, open_source, sample


def encoded(image: np.ndarray, codec: str = "png") -> bytes:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = frame.width, frame.height
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    context.time_base = Fraction(1, 25)
    return b"".join(bytes(p) for p in (*context.encode(frame), *context.encode(None)))


def read(source, **options):
    with open_source(source, **options) as opened:
        got = list(sample(opened, [Grid("all")]))
        return opened.info, got


def folder_of(path, count=12, suffix="png", codec="png"):
    path.mkdir()
    for i in range(count):
        (path / f"shot {i}.{suffix}").write_bytes(encoded(numbered(i), codec))
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("png", "png"), ("jpg", "mjpeg"), ("jpg", "png")])
def test_a_folder_is_read_in_natural_order(tmp_path, suffix, codec):
    info, got = read(folder_of(tmp_path / "f", suffix=suffix, codec=codec))
    assert [number(s.images["all"]) for s in got] == list(range(12))
    assert [s.pts for s in got] == pytest.approx([i / 30 for i in range(12)])
    assert any("30 frames a second were assumed" in w for w in info.warnings)
    assert (info.kind, info.width, info.height, info.frame_count) == ("folder", 96, 64, 12)


def test_digits_that_are_no_decimal_number_are_letters(tmp_path):
    folder = folder_of(tmp_path / "f", 3)
    (folder / "shot ².png").write_bytes(encoded(numbered(9)))
    assert [number(s.images["all"]) for s in read(folder)[1]] == [0, 1, 2, 9]


def test_a_given_rate_is_used(tmp_path):
    info, got = read(folder_of(tmp_path / "f"), image_fps=10.0)
    assert [s.pts for s in got] == pytest.approx([i / 10 for i in range(12)])
    assert info.warnings == []
    assert info.fps == pytest.approx(10)


STAMPS = {
    "times.txt": "\n".join(f"{3 + i * i / 10}" for i in range(4)),
    "timestamps.csv": "file,seconds\n"
    + "\n".join(f"shot {i}.png,{3 + i * i / 10}" for i in (2, 0, 1, 3)),
    "timestamps.txt": "# t name\n" + "\n".join(f"{3 + i * i / 10} shot {i}.png" for i in range(4)),
    "timestamps.json": json.dumps({f"shot {i}.png": 3 + i * i / 10 for i in range(4)}),
}


@pytest.mark.parametrize("name", STAMPS)
def test_a_timestamps_file_sets_the_times(tmp_path, name):
    folder = folder_of(tmp_path / "f", 4)
    (folder / name).write_text(STAMPS[name])
    info, got = read(folder)
    assert [s.pts for s in got] == pytest.approx([3.0, 3.1, 3.4, 3.9])
    assert info.warnings == []


def test_media_of_a_folder_reads_back_identically(tmp_path):
    folder = folder_of(tmp_path / "f")
    (folder / "shot 3.json").write_text('{"timestamp": 7.5, "speed": 4}')
    (folder / "notes.md").write_text("not part of it")
    with open_source(folder) as source:
        packed = source.media
        again_info, again = read(packed)
        assert source.info.sha256 == again_info.sha256
        direct = list(sample(source, [Grid("all")]))
    assert not packed.exists()
    assert [(s.index, s.pts, s.state) for s in direct] == [(s.index, s.pts, s.state) for s in again]
    assert direct[3].state == {"timestamp": 7.5, "speed": 4}
    for a, b in zip(direct, again, strict=True):
        assert np.array_equal(a.images["all"], b.images["all"])


def test_the_hash_is_of_names_and_bytes(tmp_path):
    hashes = set()
    for name in ("a", "b"):
        hashes.add(read(folder_of(tmp_path / name))[0].sha256)
    assert len(hashes) == 1
    (tmp_path / "b" / "shot 0.png").rename(tmp_path / "b" / "shot 00.png")
    hashes.add(read(tmp_path / "b")[0].sha256)
    (tmp_path / "a" / "shot 1.png").write_bytes(encoded(numbered(200)))
    hashes.add(read(tmp_path / "a")[0].sha256)
    assert len(hashes) == 3


def test_what_is_not_of_the_sequence_does_not_change_its_hash(tmp_path):
    folder = folder_of(tmp_path / "f")
    before = read(folder)[0]
    (folder / "ds").mkdir()
    (folder / "ds" / "dataset.json").write_text('{"format": 1, "tables": {}, "videos": {}}')
    with open_source(folder) as source:
        assert source.info.sha256 == before.sha256
        assert any("dataset.json" in warning for warning in source.info.warnings)
        assert len(zipfile.ZipFile(source.media).namelist()) == 12


def prototype_rows(shared_data):
    path = shared_data / "prototype_outputs" / "roblox_walking_analysis.json"
    return json.loads(path.read_text())


@pytest.mark.parametrize("layout", ["nested", "flat", "array", "analysis"])
def test_state_of_the_prototype_travels_with_its_frame(shared_data, tmp_path, layout):
    analysis = prototype_rows(shared_data)
    rows = analysis["frames"]
    states = [r["roblox_metadata"] for r in rows]
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        for i, row in enumerate(rows):
            name = f"frame_{i + 1:04d}"
            image = encoded(numbered(i))
            if layout == "nested":
                archive.writestr(f"{name}/{name}.png", image)
                archive.writestr(f"{name}/{name}.json", json.dumps(states[i]))
            elif layout == "flat":
                archive.writestr(f"{name}.png", image)
                archive.writestr(f"{name}.json", json.dumps({"roblox_metadata": states[i]}))
            else:
                archive.writestr(row["filename"], encoded(numbered(i), "mjpeg"))
        if layout == "array":
            archive.writestr("metadata.json", json.dumps(states))
        if layout == "analysis":
            archive.writestr("analysis.json", json.dumps(analysis))
    info, got = read(tmp_path / "frames.zip")
    assert info.kind == "archive"
    assert [s.state for s in got] == states
    assert [number(s.images["all"]) for s in got] == list(range(len(rows)))
    clock = np.array([s["timestamp"] for s in states])
    assert [s.pts for s in got] == pytest.approx(clock - clock[0], abs=1e-6)
    assert info.warnings == []


def test_an_array_may_cover_some_frames_only(tmp_path):
    folder = folder_of(tmp_path / "f", 4)
    rows = [{"filename": "shot 2.png", "jumping": True}, {"frame_idx": 0, "jumping": False}]
    (folder / "log.json").write_text(json.dumps(rows))
    assert [s.state for s in read(folder)[1]] == [rows[1], None, rows[0], None]


def test_images_of_other_sizes_are_scaled_and_said(tmp_path):
    folder = folder_of(tmp_path / "f", 3)
    (folder / "shot 9.png").write_bytes(encoded(numbered(3, 192, 128)))
    info, got = read(folder)
    assert [number(s.images["all"]) for s in got] == [0, 1, 2, 3]
    assert {s.images["all"].shape for s in got} == {(64, 96, 3)}
    assert any("192x128" in w for w in info.warnings)


def test_limits_of_folders_and_archives(tmp_path):
    folder = folder_of(tmp_path / "f", 4)
    with open_source(folder) as source:
        packed = tmp_path / "f.zip"
        packed.write_bytes(source.media.read_bytes())
    for limits in (Limits(max_entries=3), Limits(max_bytes=300), Limits(max_pixels=1000)):
        for path in (folder, packed):
            with pytest.raises(SourceLimitError):
                open_source(path, limits)


def test_two_time_files_are_refused(tmp_path):
    folder = folder_of(tmp_path / "f", 2)
    for name in ("times.txt", "timestamps.txt"):
        (folder / name).write_text("0\n1\n")
    with pytest.raises(SourceError, match="keep one"):
        open_source(folder)


@pytest.mark.parametrize(
    "layout", ["shot {0}_mask.png", "mask_shot {0}.png", "shot {0}-depth.png", "shot {0}.Seg.PNG"]
)
def test_what_belongs_to_a_picture_is_no_frame(tmp_path, layout):
    folder = folder_of(tmp_path / "f", 3)
    for i in range(3):
        (folder / layout.format(i)).write_bytes(encoded(numbered(100 + i)))
    info, got = read(folder, image_fps=10)
    assert [number(s.images["all"]) for s in got] == [0, 1, 2]
    assert len(info.warnings) == 1
    assert "and 2 more was not taken as a frame" in info.warnings[0]


def test_of_two_pictures_of_one_name_the_photograph_is_taken(tmp_path):
    folder = folder_of(tmp_path / "f", 3, "jpg", "mjpeg")
    for i in range(3):
        (folder / f"shot {i}.png").write_bytes(encoded(numbered(100 + i)))
    info, got = read(folder, image_fps=10)
    assert [number(s.images["all"]) for s in got] == [0, 1, 2]
    assert "shot 0.png belongs to shot 0.jpg" in info.warnings[0]
    (folder / "shot 1.jpg").rename(folder / "shot 1.bmp")
    with pytest.raises(SourceError, match="same name"):
        open_source(folder)


def test_pictures_and_masks_in_folders_of_their_own_are_refused(tmp_path):
    for count in (1, 3):
        with zipfile.ZipFile(tmp_path / f"{count}.zip", "w") as archive:
            for kind in ("rgb", "mask"):
                for i in range(count):
                    archive.writestr(f"{kind}/{i}.png", encoded(numbered(i)))
        with pytest.raises(SourceError, match="2 folders of images"):
            open_source(tmp_path / f"{count}.zip")


def test_names_that_only_sound_like_masks_are_frames(tmp_path):
    folder = folder_of(tmp_path / "f", 2)
    (folder / "gas_mask.png").write_bytes(encoded(numbered(7)))
    info, got = read(folder, image_fps=10)
    assert (len(got), info.warnings) == (3, [])
