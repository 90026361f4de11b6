"""The server's video sessions on SAM 3, chosen by the flagship profile, over real HTTP."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sam3_clip import HEIGHT, TEXTS, WIDTH, Clip, save_tiny_video_model

pytest.importorskip("torch", reason="the flagship extra is not installed")
pytest.importorskip("transformers", reason="the flagship extra is not installed")
pytest.importorskip("fastapi")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serve"))

from live_server import live_server

from stpe.models.loader import resolve
from stpe.models.roles import ROLES
from stpe.rle import decode_mask

API = "/api/v1/video/session"


def test_profiles_choose_it_or_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("stpe.models.machine.cached", lambda file: None)
    for profile in ("balanced", "flagship"):
        missing = resolve(profile).missing["video_segmenter"]
        assert missing.startswith("sam3-video: facebook/sam3 is not on this machine")
        assert "stpe models pull --model video_segmenter=sam3-video" in missing


def test_a_session_over_http(tmp_path: Path) -> None:
    weights, frames = tmp_path / "sam3", tmp_path / "frames"
    weights.mkdir()
    frames.mkdir()
    save_tiny_video_model(weights)
    clip = Clip(5)
    for index in range(5):
        cv2.imwrite(str(frames / f"{index:03d}.png"), clip.image(index)[..., ::-1])
    others = ",".join(f"{role}=none" for role in ROLES if role != "video_segmenter")
    with live_server(
        tmp_path,
        STPE_SERVE_PROFILE="flagship",
        STPE_SERVE_MODELS=f"video_segmenter={weights},{others}",
        STPE_SERVE_MEDIA_ROOTS=str(tmp_path),
        OMP_NUM_THREADS="1",
    ) as server:

        def post(path: str, body: dict) -> dict:
            return server.call("POST", path, json=body).json()

        started = post(f"{API}/start", {"video_path": "frames"})
        session = f"{API}/{started['session_id']}"
        texts = [{"type": "text", "text": text} for text in TEXTS]
        named = post(f"{session}/prompt", {"frame_index": 0, "prompts": texts})
        assert len(named["obj_ids"]) >= 1
        assert {o["label"] for o in named["objects"]} <= set(TEXTS)
        box = [{"type": "box", "box": [0.1, 0.1, 0.4, 0.7]}]
        boxed = post(f"{session}/prompt", {"frame_index": 0, "prompts": box})["obj_id"]
        done = post(f"{session}/propagate", {"direction": "forward"})
        assert [r["frame_index"] for r in done["results"]] == [0, 1, 2, 3, 4]
        for result in done["results"]:
            (one,) = [o for o in result["objects"] if o["id"] == boxed]
            assert decode_mask({"counts": one["mask"], "size": one["mask_size"]}).shape == (
                HEIGHT,
                WIDTH,
            )
        gone = server.call("DELETE", f"{session}/object/{boxed}").json()
        assert boxed not in gone["object_ids"]
        again = post(f"{session}/propagate", {"direction": "backward", "start_frame_index": 4})
        ids = [o["id"] for r in again["results"] for o in r["objects"]]
        assert boxed not in ids
        assert np.isfinite([o["score"] for r in again["results"] for o in r["objects"]]).all()
        status = server.call("GET", f"{session}/status").json()
        assert status["model"].startswith("sam3-video")
        freed = server.call("DELETE", session).json()["memory_freed_mb"]
        assert freed == pytest.approx(status["memory_mb"], rel=0.01)
