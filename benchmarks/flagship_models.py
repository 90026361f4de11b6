"""The flagship profile's networks at their real size with random weights, behind the real backends.

Nothing is downloaded: architectures are written down here as the hub's repositories have them,
weights are drawn on the device, and the backends' own `load` runs on folders that hold only the
settings of preprocessing and small tokenizers. Small ones have the same kinds of layers, narrower
and often fewer.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
import transformers

from stpe.models.coco import CATEGORIES
from stpe.models.torch_runtime.network import Network

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


class RandomNetwork(Network):
    """A network whose weights are drawn on its device; all else is the real one's."""

    configs: ClassVar[dict[str, Any]] = {}

    def read(self, kind: str) -> Any:
        torch.manual_seed(0)
        self.config = self.configs[kind]
        with torch.device(self.device):
            model = getattr(transformers, kind)._from_config(self.config, dtype=self.dtype)
        return model.requires_grad_(False)


@dataclass(frozen=True)
class Entry:
    """One model of the profile.

    Attributes:
        role, model: as in the catalog.
        module: of `stpe.models.backends`.
        configs: class name in transformers to its configuration.
        options: passed to the backend.
        files: folder to what the backend reads beside weights.
    """

    role: str
    model: str
    module: str
    configs: Callable[[], dict[str, Any]]
    options: dict[str, Any]
    files: Callable[[Path], object]

    def load(self, folder: Path, options: dict[str, Any]) -> Any:
        """The backend, by its own `load`."""
        folder.mkdir(exist_ok=True)
        self.files(folder)
        RandomNetwork.configs = self.configs()
        module = import_module(f"stpe.models.backends.{self.module}")
        with patch.object(module, "Network", RandomNetwork):
            return module.load({"repository": folder}, {**self.options, **options})


def entries(small: bool) -> list[Entry]:
    """The flagship profile's torch models that this machine can build."""
    found = [
        Entry("image_embedder", "dinov3-vit7b16", "transformers.dinov3",
              lambda: {"DINOv3ViTModel": dinov3(small)}, {"patches": 240 if small else 1536},
              image_settings),
        Entry("detector", "rf-detr-large", "transformers.rf_detr",
              lambda: {"RfDetrForObjectDetection": rf_detr(small)}, {}, image_settings),
        Entry("segmenter", "sam3", "transformers.sam3", lambda: sam3(small), {}, sam3_settings),
        Entry("pose", "vitpose-huge", "transformers.vitpose",
              lambda: {"VitPoseForPoseEstimation": vitpose(small)}, {}, image_settings),
        Entry("depth", "depth-anything-large", "transformers.depth_anything",
              lambda: {"DepthAnythingForDepthEstimation": depth(small)},
              {"side": 224} if small else {}, image_settings),
        Entry("clip_classifier", "vjepa2-vitg-ssv2", "transformers.vjepa2",
              lambda: {"VJEPA2ForVideoClassification": vjepa2(small)}, {}, video_settings),
        Entry("captioner", "qwen3-vl-8b", "transformers.qwen3_vl",
              lambda: {"Qwen3VLForConditionalGeneration": qwen3_vl(small)},
              {"tokens": 8 if small else 128, "side": 128 if small else 640}, qwen_settings),
    ]  # fmt: skip
    return found


def flow(small: bool, folder: Path, options: dict[str, Any]) -> Any:
    """RAFT large by torchvision, with random weights in its file. Raises ImportError."""
    if find_spec("torchvision") is None:
        raise ImportError("torchvision is not installed")
    from torchvision.models.optical_flow import raft_large, raft_small

    from stpe.models.backends.torchvision import raft

    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    file = folder / "raft.pth"
    torch.save((raft_small if small else raft_large)(weights=None).state_dict(), file)
    return raft.load(
        {"weights": file}, {"network": "raft_small" if small else "raft_large", **options}
    )


def dinov3(small: bool) -> Any:
    """facebook/dinov3-vit7b16-pretrain-lvd1689m."""
    return transformers.DINOv3ViTConfig(
        hidden_size=128 if small else 4096,
        num_hidden_layers=40 if not small else 8,
        num_attention_heads=4 if small else 32,
        intermediate_size=256 if small else 8192,
        use_gated_mlp=True,
        hidden_act="silu",
        query_bias=False,
        value_bias=False,
        num_register_tokens=4,
        patch_size=16,
    )


def rf_detr(small: bool) -> Any:
    """RF-DETR large of 2026 (github.com/roboflow/rf-detr, RFDETRLargeConfig): DINOv2 small with
    patches of 16 at 704 pixels in 2 x 2 windows, 4 decoder layers, COCO's 91 classes."""
    width = 96 if small else 384
    return transformers.RfDetrConfig(
        backbone_config={
            "model_type": "rf_detr_dinov2",
            "hidden_size": width,
            "num_hidden_layers": 12,
            "num_attention_heads": 4 if small else 6,
            "image_size": 224 if small else 704,
            "patch_size": 16,
            "num_windows": 2,
            "out_features": ["stage3", "stage6", "stage9", "stage12"],
        },
        d_model=64 if small else 256,
        decoder_layers=4,
        decoder_self_attention_heads=4 if small else 8,
        decoder_cross_attention_heads=4 if small else 16,
        num_queries=50 if small else 300,
        group_detr=1,
        id2label={i: name for i, name in enumerate(CATEGORIES) if name},
    )


def sam3(small: bool) -> dict[str, Any]:
    """facebook/sam3; small: every width and the image's side an eighth."""
    if not small:
        full = transformers.Sam3Config(), transformers.Sam3TrackerConfig()
        return dict(zip(("Sam3Model", "Sam3TrackerModel"), full, strict=True))
    part = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model", **part, "num_hidden_layers": 8, "image_size": 224,
            "pretrain_image_size": 112, "window_size": 8, "global_attn_indexes": [3, 7],
        },
        "fpn_hidden_size": 64,
        "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", **part, "vocab_size": 74, "projection_dim": 32,
        "num_hidden_layers": 4, "max_position_embeddings": 32,
        "bos_token_id": 72, "eos_token_id": 73,
    }  # fmt: skip
    decoder = {"hidden_size": 64, "num_attention_heads": 4}
    detector = transformers.Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config={**part, "num_layers": 1},
        detr_encoder_config={**part, "num_layers": 3},
        detr_decoder_config={**part, "num_layers": 3, "num_queries": 50},
        mask_decoder_config=decoder,
    )
    tracker = transformers.Sam3TrackerConfig(
        vision_config={"model_type": "sam3_vision_model", **vision},
        prompt_encoder_config={"hidden_size": 64, "image_size": 224},
        mask_decoder_config={**decoder, "mlp_dim": 128, "iou_head_hidden_dim": 64},
    )
    return {"Sam3Model": detector, "Sam3TrackerModel": tracker}


def vitpose(small: bool) -> Any:
    """usyd-community/vitpose-plus-huge: six experts, COCO's is used."""
    return transformers.VitPoseConfig(
        backbone_config={
            "model_type": "vitpose_backbone",
            "hidden_size": 96 if small else 1280,
            "num_hidden_layers": 8 if small else 32,
            "num_attention_heads": 4 if small else 16,
            "num_experts": 6,
            "part_features": 24 if small else 320,
            "out_indices": [8 if small else 32],
        },
        num_labels=17,
    )


def depth(small: bool) -> Any:
    """LiheYoung/depth-anything-large-hf: DINOv2 large."""
    stages = [2, 4, 6, 8] if small else [5, 12, 18, 24]
    return transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(
            hidden_size=96 if small else 1024,
            num_hidden_layers=stages[-1],
            num_attention_heads=4 if small else 16,
            image_size=518,
            patch_size=14,
            out_features=[f"stage{n}" for n in stages],
            reshape_hidden_states=False,
            apply_layernorm=True,
        ),
        patch_size=14,
        reassemble_hidden_size=96 if small else 1024,
        neck_hidden_sizes=[24, 48, 96, 96] if small else [256, 512, 1024, 1024],
        fusion_hidden_size=32 if small else 256,
    )


def vjepa2(small: bool) -> Any:
    """facebook/vjepa2-vitg-fpc64-384-ssv2."""
    return transformers.VJEPA2Config(
        hidden_size=96 if small else 1408,
        num_hidden_layers=8 if small else 40,
        num_attention_heads=4 if small else 22,
        mlp_ratio=4 if small else 48 / 11,
        crop_size=96 if small else 384,
        frames_per_clip=16 if small else 64,
        pred_hidden_size=48 if small else 384,
        pred_num_attention_heads=4 if small else 12,
        pred_num_hidden_layers=4 if small else 12,
        num_labels=174,
    )


def qwen3_vl(small: bool) -> Any:
    """Qwen/Qwen3-VL-8B-Instruct; marks of the conversation as the small tokenizer has them."""
    head = 32 if small else 128
    sections = [6, 5, 5] if small else [24, 20, 20]
    return transformers.Qwen3VLConfig(
        vision_config={
            "depth": 4 if small else 27,
            "hidden_size": 64 if small else 1152,
            "intermediate_size": 128 if small else 4304,
            "num_heads": 4 if small else 16,
            "out_hidden_size": 128 if small else 4096,
            "deepstack_visual_indexes": [1, 2, 3] if small else [8, 16, 24],
        },
        text_config={
            "vocab_size": 512 if small else 151936,
            "hidden_size": 128 if small else 4096,
            "intermediate_size": 256 if small else 12288,
            "num_hidden_layers": 8 if small else 36,
            "num_attention_heads": 4 if small else 32,
            "num_key_value_heads": 2 if small else 8,
            "head_dim": head,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": sections,
                "mrope_interleaved": True,
            },
        },
        vision_start_token_id=259,
        vision_end_token_id=260,
        image_token_id=261,
        video_token_id=262,
    )


def image_settings(folder: Path) -> None:
    """Preprocessing of the image models."""
    settings = {"do_normalize": True, "resample": 3, **IMAGENET}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def video_settings(folder: Path) -> None:
    """Preprocessing of V-JEPA 2."""
    (folder / "video_preprocessor_config.json").write_text(json.dumps(IMAGENET))


def sam3_settings(folder: Path) -> None:
    """Preprocessing of SAM 3, and a CLIP tokenizer that spells words."""
    settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    letters = string.ascii_lowercase + string.digits
    words = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)


def qwen_settings(folder: Path) -> None:
    """Preprocessing of Qwen3-VL, and a tokenizer of single bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    image_settings(folder)
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    marks += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    letters = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = transformers.Qwen2Tokenizer(vocab=letters, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.save_pretrained(folder)
