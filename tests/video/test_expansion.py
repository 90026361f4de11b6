"""Folders of videos, folders of folders of frames, LeRobot datasets and patterns as sources."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from stpe.errors import SourceError
from stpe.video.expansion import expand


def put(path, data=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def names(given, root):
    found = expand(given)
    return [uri.removeprefix(f"{root}/") for uri in found.uris], "\n".join(found.notes)


def test_a_folder_of_videos_in_natural_order_without_junk(tmp_path):
    for name in ("clip10.mp4", "clip2.MOV", "deep/er/clip1.webm", "deep/.hidden.mp4",
                 "._clip2.MOV", "__MACOSX/clip2.mp4", "notes.txt", "code.ts", "thumb.png",
                 "made/dataset.json", "made/tables/x", "made/media/abc.mp4"):  # fmt: skip
        put(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        archive.writestr("1.png", b"x")
    with zipfile.ZipFile(tmp_path / "words.zip", "w") as archive:
        archive.writestr("1.doc", b"x")
    found, said = names([tmp_path], tmp_path)
    assert found == ["clip2.MOV", "clip10.mp4", "deep/er/clip1.webm", "frames.zip"]
    for junk in ("deep/.hidden.mp4", "__MACOSX", "._clip2.MOV"):
        assert junk in said or "passed over 9" in said
    assert f"{tmp_path}: 4 sources" in said


def test_folders_of_frames(tmp_path):
    for episode in (2, 10):
        for number in range(3):
            picture(tmp_path / "runs" / f"e{episode}" / f"{number}.png")
            picture(tmp_path / "runs" / f"e{episode}" / "log.json" / "no.txt.png")
            picture(tmp_path / "rgbd" / "rgb" / f"{number}.png")
            picture(tmp_path / "rgbd" / "depth" / f"{number}.png")
            picture(tmp_path / "one" / "frames" / f"{number}.png")
            picture(tmp_path / "each" / f"f{number}" / "image.png")
    put(tmp_path / "one" / "states.json", b"[]")
    assert names([tmp_path / "runs"], tmp_path)[0] == ["runs/e2", "runs/e10"]
    assert names([tmp_path / "runs" / "e2"], tmp_path) == (["runs/e2"], "")
    assert names([tmp_path / "one"], tmp_path) == (["one"], "")  # with its records
    assert names([tmp_path / "each"], tmp_path) == (["each"], "")  # one sequence
    found, said = names([tmp_path / "rgbd"], tmp_path)
    assert found == ["rgbd/rgb"]
    assert "depth" in said
    found, _ = names([tmp_path], tmp_path)
    assert found == ["each", "one", "rgbd/rgb", "runs/e2", "runs/e10"]


def test_patterns(tmp_path):
    for name in ("a/2.mp4", "a/10.mp4", "b/c/1.mkv", "a/x.txt", "[odd].mp4"):
        put(tmp_path / name)
    assert names([f"{tmp_path}/a/*.mp4"], tmp_path)[0] == ["a/2.mp4", "a/10.mp4"]
    found, said = names([f"{tmp_path}/**/*"], tmp_path)
    assert found == ["[odd].mp4", "a/2.mp4", "a/10.mp4", "b/c/1.mkv"]
    assert "x.txt" in said
    assert names([f"{tmp_path}/*"], tmp_path)[0] == found
    assert names([tmp_path / "[odd].mp4"], tmp_path) == (["[odd].mp4"], "")
    both, said = names([tmp_path / "a", f"{tmp_path}/a/2.mp4", "https://x.org/*.mp4"], tmp_path)
    assert both == ["a/2.mp4", "a/10.mp4", "https://x.org/*.mp4"]
    assert "twice" in said
    for wrong in ("*.avi", "a/*.txt"):
        with pytest.raises(SourceError, match="pattern matches"):
            expand([f"{tmp_path}/{wrong}"])
    assert names([tmp_path / "nowhere.mp4"], tmp_path) == (["nowhere.mp4"], "")


def test_lerobot_datasets(tmp_path):
    features = {f"observation.images.{side}": {"dtype": "video"} for side in ("top", "wrist")}

    def described(root, version):
        text = json.dumps({"codebase_version": version, "features": {**features, "action": {}}})
        put(root / "meta" / "info.json", text.encode())
        put(root / "README.md")

    old, new = tmp_path / "old", tmp_path / "new"
    described(old, "v2.1")
    described(new, "v3.0")
    for key in features:
        for episode in range(2):
            put(old / "videos" / "chunk-000" / key / f"episode_{episode:06d}.mp4")
            put(old / "data" / "chunk-000" / f"episode_{episode:06d}.parquet")
        put(new / "videos" / key / "chunk-000" / "file-000.mp4")
    put(new / "data" / "chunk-000" / "file-000.parquet")
    found = expand([old])
    assert len(found.uris) == 4
    for uri, state in zip(found.uris, found.states, strict=True):
        assert uri.rpartition("/")[2].removesuffix(".mp4") == (
            state.rpartition("/")[2].removesuffix(".parquet")
        )
    assert "v2.1" in found.notes[-1]
    assert "observation.images.top, observation.images.wrist" in found.notes[-1]
    found = expand([new])
    assert [uri.removeprefix(f"{new}/videos/") for uri in found.uris] == [
        f"{key}/chunk-000/file-000.mp4" for key in features
    ]
    assert found.states == [None, None]
    assert "several episodes" in found.notes[-1]
    assert len(expand([tmp_path]).uris) == 6
    shutil.rmtree(new / "videos")
    with pytest.raises(SourceError, match="LeRobot dataset without videos"):
        expand([new])
