"""Sources behind http and s3 addresses, against real servers on this machine."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import write
from malformed import served, video

from stpe.errors import SourceError, SourceLimitError
from stpe.video import Limits, open_source


@pytest.mark.parametrize("path", ["good.mp4", "to_good"])
def test_http_gives_the_same_as_the_file(tmp_path, path):
    local = video(tmp_path / "good.mp4")
    with served(tmp_path) as base, open_source(f"{base}/{path}") as source:
        copy = source.media
        assert copy.read_bytes() == local.read_bytes()
        assert source.info.uri == f"{base}/{path}"
        with open_source(local) as direct:
            assert source.info.sha256 == direct.info.sha256
            assert [f.pts for f in source] == [f.pts for f in direct]
    assert not copy.exists()


def test_a_download_past_the_limit_is_refused(tmp_path):
    video(tmp_path / "good.mp4")
    with served(tmp_path) as base, pytest.raises(SourceLimitError):
        open_source(f"{base}/good.mp4", Limits(max_bytes=1000))


def test_no_room_for_a_temporary_copy_is_said(tmp_path, monkeypatch):
    video(tmp_path / "good.mp4")
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "1.png"), np.zeros((64, 96, 3), np.uint8))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with served(tmp_path) as base, pytest.raises(SourceError, match=r"none: No such file.*TMPDIR"):
        open_source(f"{base}/good.mp4")
    with (
        open_source(tmp_path / "frames") as source,
        pytest.raises(SourceError, match=r"none: No such file.*TMPDIR"),
    ):
        source.media  # noqa: B018


def test_passwords_and_signatures_are_not_repeated(tmp_path):
    video(tmp_path / "good.mp4")
    with served(tmp_path) as base:
        address = base.replace("//", "//me:secret@")
        with pytest.raises(SourceError) as raised:
            open_source(f"{address}/404?t=1&X-Amz-Signature=secret")
        assert "secret" not in str(raised.value)
        assert "404?t=1" in str(raised.value)
        with open_source(f"{address}/good.mp4") as source:
            assert source.info.uri == f"{base}/good.mp4"


def test_a_file_address(tmp_path):
    path = write(tmp_path / "a clip.mp4")
    with open_source(path.as_uri()) as source:
        assert len(list(source)) == 25


@pytest.fixture
def bucket(monkeypatch):
    """The address of an empty bucket on a local server that speaks the S3 protocol."""
    if any(importlib.util.find_spec(m) is None for m in ("moto", "flask", "flask_cors")):
        pytest.skip("the S3 server (moto[s3], flask, flask-cors) is not installed")
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    store = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
    store.create_dir("films")
    yield store
    server.stop()


def put(store, key: str, path: Path) -> str:
    with store.open_output_stream(f"films/{key}") as stream:
        stream.write(path.read_bytes())
    return f"s3://films/{key}"


def test_s3_gives_the_same_as_the_file(bucket, tmp_path):
    local = write(tmp_path / "clip.mkv")
    address = put(bucket, "a folder/clip.mkv", local)
    with open_source(address) as source:
        copy = source.media
        assert copy.read_bytes() == local.read_bytes()
        assert copy.suffix == ".mkv"
        assert source.info.uri == address
        assert len(list(source)) == 25
    assert not copy.exists()
    with pytest.raises(SourceError, match="no such object"):
        open_source("s3://films/none.mkv")
    with pytest.raises(SourceError, match="no such object"):
        open_source("s3://nowhere/none.mkv")
    with pytest.raises(SourceLimitError):
        open_source(address, Limits(max_bytes=1000))
