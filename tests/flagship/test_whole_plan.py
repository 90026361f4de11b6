"""The flagship plan on a short clip with tiny local models: a complete dataset, read back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from flagship_reference import (
    IMAGENET,
    save_qwen_tokenizer,
    save_sam3,
    tiny_qwen3_vl,
    tiny_rf_detr,
    tiny_sam3,
)
from pycocotools import mask as coco

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe import cli  # noqa: E402
from stpe.dataset.reader import open_dataset  # noqa: E402


@pytest.fixture
def models(save: Callable[..., tuple[Path, Any]], tmp_path: Path) -> dict[str, str]:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    dinov3 = transformers.DINOv3ViTConfig(**small, intermediate_size=64, num_register_tokens=4)
    depth = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(
            **{**small, "num_hidden_layers": 4},
            mlp_ratio=2,
            patch_size=14,
            image_size=70,
            out_features=["stage1", "stage2", "stage3", "stage4"],
            reshape_hidden_states=False,
        ),
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
    )
    clips = transformers.VJEPA2Config(
        **{**small, "hidden_size": 48},
        crop_size=32,
        frames_per_clip=8,
        num_pooler_layers=1,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=2,
        num_labels=6,
    )
    pose = transformers.VitPoseConfig(
        backbone_config={
            "model_type": "vitpose_backbone",
            **small,
            "mlp_ratio": 2,
            "image_size": [64, 48],
            "patch_size": [16, 16],
            "out_indices": [2],
        },
        num_labels=17,
    )
    detr = tiny_rf_detr(["car", "dog"])  # people are found by words
    size = {"size": {"height": 112, "width": 112}}
    folders = {
        "image_embedder": save("DINOv3ViTModel", dinov3)[0],
        "detector": save("RfDetrForObjectDetection", detr, size)[0],
        "pose": save("VitPoseForPoseEstimation", pose)[0],
        "depth": save("DepthAnythingForDepthEstimation", depth)[0],
        "clip_classifier": save("VJEPA2ForVideoClassification", clips)[0],
        "segmenter": tmp_path / "sam3",
    }
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    folders["captioner"] = save("Qwen3VLForConditionalGeneration", tiny_qwen3_vl(), half)[0]
    save_qwen_tokenizer(folders["captioner"])
    # Random weights find no end of their own.
    (folders["captioner"] / "generation_config.json").write_text('{"max_time": 0.05}')
    video = folders["clip_classifier"] / "video_preprocessor_config.json"
    video.write_text(json.dumps({"crop_size": 32, **IMAGENET}))
    folders["segmenter"].mkdir()
    torch.manual_seed(0)
    sam3 = transformers.Sam3VideoModel(tiny_sam3()).eval()
    with torch.no_grad():  # sure that what is asked for is there
        sam3.detector_model.detr_decoder.presence_head.layer3.bias.fill_(4.0)
        sam3.detector_model.dot_product_scoring.query_proj.weight.mul_(8)
    save_sam3(sam3, folders["segmenter"])
    return {role: str(folder) for role, folder in folders.items()}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (6, 10, 3), dtype=np.uint8)
    ground = np.kron(noise, np.ones((16, 16, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(75):
            image = ground.copy()
            image[30:60, i : i + 30] = (220, 40, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


def test_every_signal_of_the_plan_is_there_and_read_back(
    models: dict[str, str], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not of the hub, and here without weights of their own.
    others = {"flow": "dis", "text_embedder": "none", "shot_detector": "none"}
    choice = [f"--model={role}={model}" for role, model in {**models, **others}.items()]
    out = tmp_path / "ds"
    command = ["process", str(clip), "--profile", "flagship", "--json", *choice]
    command += ["--concepts", "person", "--workers", "8"]
    assert cli.run([*command, "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"] == "flagship"
    assert set(told["absent"]) <= {"transitions", "shots", "state"}, told["absent"]

    dataset = open_dataset(out)
    frames = dataset.arrow("frames").to_pylist()
    assert len(frames) == 6
    for row in frames:
        unit(row["embedding"], 32)
        assert row["dense_shape"] == [row["dense_shape"][0], row["dense_shape"][1], 32]
        assert len(row["dense"]) == np.prod(row["dense_shape"])
        assert len(row["edges"]) == np.prod(row["dense_shape"][:2])
        assert row["depth_unit"] == "relative"
        assert len(row["depth"]) == np.prod(row["depth_shape"])
        assert row["camera_motion"] or row is frames[0]
        assert all(row[f"caption_{level}"] for level in ("brief", "normal", "detailed"))
        assert all(row[f"vlm_{level}"] for level in ("brief", "normal", "detailed"))
    (video,) = dataset.arrow("videos").to_pylist()
    unit(video["clip_embedding"], 32)
    assert video["summary"]

    rows = dataset.arrow("clips").to_pylist()
    assert len(rows) == 2  # of at most 8 frames, 4 a second
    for row in rows:
        unit(row["embedding"], 48)
        unit(row["pooled_embedding"], 32)
        assert row["surprise"] > 0
        assert len(row["classes"]) == 5

    objects = dataset.arrow("objects").to_pylist()
    assert {row["label"] for row in objects} == {"person"}
    cut_out = [row for row in objects if row["mask_rle"]]  # a mask beside its box is none
    assert cut_out
    assert any(row["velocity_px_s"] for row in objects)
    for row in cut_out:
        unit(row["embedding"], 32)
        assert coco.decode(row["mask_rle"]).shape == (96, 160)
        assert row["depth"] > 0
        assert row["motion"] in ("moving", "static", "unknown")
        assert len(row["keypoints"]) == 51

    clips = dataset.clips(signals=["frames.embedding", "frames.dense", "frames.depth"], length=4)
    sample = clips[0]
    assert sample["frames.embedding"].shape == (4, 32)
    assert sample["frames.dense"].shape == (4, *frames[0]["dense_shape"])
    assert sample["frames.depth"].shape == (4, *frames[0]["depth_shape"])
    np.testing.assert_array_equal(
        np.ravel(sample["frames.dense"][1]), np.float16(frames[1]["dense"])
    )

    # More runs, each in a process that has yet to import everything in 8 threads.
    for run in range(1, int(os.environ.get("STPE_FLAGSHIP_RUNS", "1"))):
        call = [sys.executable, "-m", "stpe", *command, "--out", str(tmp_path / f"ds{run}")]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"run {run}: {done.stderr[-2000:]}"
        assert json.loads(done.stdout)["absent"] == told["absent"], f"run {run}"

    used = [m for row in dataset.arrow("artifacts").to_pylist() for m in row["models"] or ()]
    assert set(models) <= {model["role"] for model in used}
    for model in used:
        if model["role"] in models:
            assert len(model["sha256"]) == 64  # of what the folder holds
            assert model["licence"]


def unit(vector: list[float], dimension: int) -> None:
    assert len(vector) == dimension
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
