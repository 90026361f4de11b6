"""Hostile videos, archives, paths and addresses over real HTTP: each its own 4xx, server alive."""

import base64
import http.server
import io
import stat
import sys
import threading
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toys
from jobs_server import server
from test_serve_attacks import png_bomb

START = "/api/v1/video/session/start"


class Redirects(http.server.BaseHTTPRequestHandler):
    """Leads `/to/URL` there."""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", self.path[4:])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirects)
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "media").mkdir()
    (folder / "media-beside").mkdir()
    toys.write_clip(folder / "media-beside" / "secret.mp4", seconds=1)
    (folder / "media" / "link.mp4").symlink_to(folder / "media-beside" / "secret.mp4")
    (folder / "media" / "here").symlink_to(folder / "media-beside")
    limits = {
        "STPE_SERVE_MEDIA_ROOTS": str(folder / "media"),
        "STPE_SERVE_FETCH_NETWORKS": "127.0.0.1/32",
        "STPE_SERVE_MAX_SECONDS": "3",
        "STPE_SERVE_MAX_FRAMES": "100",
    }
    with server(folder, **limits) as found:
        yield found
        assert found.process.poll() is None
        assert found.http.get("/health/live").status_code == 200


def refused(response, status, says=""):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert says in response.json()["error"]
    assert "Traceback" not in response.text
    return response


def test_paths_outside_the_media_folder_and_links_out_of_it(running):
    beside = running.folder / "media-beside" / "secret.mp4"
    for path in (
        "/etc/passwd", "../media-beside/secret.mp4", str(beside), "link.mp4", "here/secret.mp4",
        "here/../../media-beside/secret.mp4", "..%2fmedia-beside%2fsecret.mp4/../../secret",
    ):  # fmt: skip
        answer = refused(running.http.post(START, json={"video_path": path}), 403)
        assert str(running.folder) not in answer.text.replace(path, "")
    for path in ("nothing.mp4", "a\0b"):
        assert running.http.post(START, json={"video_path": path}).status_code in (403, 404, 422)


def test_addresses_that_lead_inside(running, web):
    """127.0.0.1 is allowed here; what it leads to is checked as strictly as the first address."""
    inside = ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::1]:80/",
              "http://127.0.0.2/"]  # fmt: skip
    for url in [*inside, *(f"{web}/to/{url}" for url in inside)]:
        refused(running.http.post(START, json={"video_url": url}), 403)
        refused(running.run("process_video", video_url=url), 403)
    for url in (f"{web}/to/file:///etc/passwd", "gopher://x/"):
        refused(running.http.post(START, json={"video_url": url}), 422)
    with_name = {"STPE_SERVE_FETCH_NETWORKS": ""}
    with server(running.folder, **with_name) as strict:  # a name that resolves to loopback
        refused(strict.http.post(START, json={"video_url": "http://localhost:1/a.mp4"}), 403)
        refused(strict.run("embed_image", image_url="http://localhost:1/a.png"), 403)


def packed(*members):
    """Base64 of a ZIP of (name or ZipInfo, content)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return base64.b64encode(out.getvalue()).decode()


def test_archives_that_burst_or_reach_out(running):
    link = zipfile.ZipInfo("frame_0001.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    attacks = [
        (packed(("frame_0001.png", bytes(60 << 20))), 413, "times its size"),
        (packed(("frame_0001.png", png_bomb())), 413, "pixels"),
        (packed(("../../frame_0001.png", b"x")), 422, "points outside the archive"),
        (packed(("/etc/frame_0001.png", b"x")), 422, "points outside the archive"),
        (packed(("a\\..\\..\\frame_0001.png", b"x")), 422, "points outside the archive"),
        (packed((link, b"/etc/passwd")), 422, "is a link"),
        (base64.b64encode(b"PK\x03\x04" + bytes(500)).decode(), 422, "ZIP"),
    ]
    before = set(running.folder.parent.rglob("frame_0001*"))
    for archive, status, says in attacks:
        refused(running.run("process_extracted_frames", zip_base64=archive), status, says)
    assert set(running.folder.parent.rglob("frame_0001*")) == before


def test_a_picture_that_would_burst_in_a_job(running):
    bomb = base64.b64encode(png_bomb()).decode()
    for operation in ("embed_image", "process_image"):
        refused(running.run(operation, image_base64=bomb), 413, "pixels")


def test_videos_of_too_many_frames_or_seconds(running, tmp_path):
    """12 s at 25 a second, where 3 s and 100 frames are allowed."""
    long = toys.write_clip(tmp_path / "long.mp4", seconds=12)
    data = base64.b64encode(Path(long).read_bytes()).decode()
    refused(running.run("process_video", video_base64=data), 413)
    sent = running.http.post("/uploads", content=Path(long).read_bytes())
    started = running.http.post(START, json={"upload_id": sent.json()["upload_id"]})
    refused(started, 413)
    body = {"task": "velocity-estimation", "payloadBase64": data, "mimeType": "video/mp4"}
    refused(running.http.post("/infer", json=body), 413)


def test_unknown_ids(running):
    for method, path in (
        ("GET", "/status/0"), ("GET", "/jobs/0"), ("GET", "/jobs/0/events"), ("POST", "/cancel/0"),
        ("GET", "/uploads/0"), ("DELETE", "/uploads/0"),
        ("GET", "/api/v1/video/session/0/status"), ("DELETE", "/api/v1/video/session/0"),
        ("POST", "/api/v1/video/session/0/reset"), ("DELETE", "/api/v1/video/session/0/object/1"),
    ):  # fmt: skip
        refused(running.http.request(method, path), 404)
    prompts = {"frame_index": 0, "prompts": [{"type": "text", "text": "dog"}]}
    refused(running.http.post("/api/v1/video/session/0/prompt", json=prompts), 404)
    refused(running.http.post("/api/v1/video/session/0/propagate", json={}), 404)
    refused(running.http.post(START, json={"upload_id": "0" * 32}), 404)
