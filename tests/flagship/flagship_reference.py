"""Preprocessing written again from its definition, to compare the backends with, and the
smallest models and tokenizers that need more than a line."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SAM3 = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}


def normalised(
    picture: np.ndarray,
    height: int,
    width: int,
    mode: str = "bicubic",
    settings: dict[str, Any] = IMAGENET,
) -> Any:
    """1x3xHxW float32: 0..1, resized with antialiasing, the settings' mean and deviation."""
    import torch

    plane = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    if plane.shape[-2:] != (height, width):
        plane = torch.nn.functional.interpolate(plane, (height, width), mode=mode, antialias=True)
        plane = plane.clamp(0, 1)
    mean, std = (torch.tensor(settings[k]).view(1, 3, 1, 1) for k in ("image_mean", "image_std"))
    return (plane - mean) / std


def save_clip_tokenizer(folder: Path) -> None:
    """A CLIP tokenizer that spells every word, saved as a hub repository has it."""
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase + string.digits
    vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={t: i for i, t in enumerate(vocabulary)}, merges=[]).save_pretrained(folder)


def save_sam3(model: Any, folder: Path) -> None:
    """A Sam3VideoModel as the hub's repository has it: weights under the names that transformers
    reads there (its own `save_pretrained` doubles the tracker's prefix), one file of settings."""
    from safetensors.torch import save_file

    model.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": SAM3}))
    save_clip_tokenizer(folder)


def tiny_sam3(side: int = 112, scale: int = 1) -> Any:
    """A Sam3VideoConfig, as the hub's repository has it, with everything small."""
    import transformers

    cells = side // 14
    width = 32 * scale
    part = {"hidden_size": width, "num_attention_heads": 4, "intermediate_size": 2 * width}
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            **part,
            "num_hidden_layers": 2,
            "image_size": side,
            "pretrain_image_size": side // 2,
            "window_size": cells // 2,
            "global_attn_indexes": [1],
        },
        "fpn_hidden_size": width,
        "backbone_feature_sizes": [[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
    }
    text = {
        "model_type": "clip_text_model",
        **part,
        "vocab_size": 74,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 72,
        "eos_token_id": 73,
    }
    decoder = {"hidden_size": width, "num_attention_heads": 4}
    return transformers.Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision,
            "text_config": text,
            "geometry_encoder_config": {**part, "num_layers": 1},
            "detr_encoder_config": {**part, "num_layers": 2},
            "detr_decoder_config": {**part, "num_layers": 2, "num_queries": 12},
            "mask_decoder_config": decoder,
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            "image_size": side,
            "vision_config": {"model_type": "sam3_vision_model", **vision},
            "prompt_encoder_config": {"hidden_size": width},
            "mask_decoder_config": {**decoder, "mlp_dim": 64, "iou_head_hidden_dim": 32},
            "memory_attention_hidden_size": width,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 64,
            "memory_encoder_hidden_size": width,
            "memory_encoder_output_channels": 64,  # transformers takes no other
            "mask_downsampler_embed_dim": width,
            "memory_fuser_embed_dim": width,
            "memory_fuser_intermediate_dim": 64,
        },
        low_res_mask_size=4 * cells,
    )


def save_qwen_tokenizer(folder: Path) -> None:
    """A Qwen tokenizer that knows single bytes and the marks of a conversation."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    letters = sorted(ByteLevel.alphabet())
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    marks += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = Qwen2Tokenizer(vocab={t: i for i, t in enumerate(letters)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.save_pretrained(folder)


def tiny_qwen3_vl() -> Any:
    """The smallest Qwen3VLConfig that `save_qwen_tokenizer` fits."""
    import transformers

    return transformers.Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        text_config={
            "vocab_size": 263,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_start_token_id=259,
        vision_end_token_id=260,
        image_token_id=261,
        video_token_id=262,
    )


def tiny_rf_detr(labels: list[str]) -> Any:
    """A small RfDetrConfig for 112x112 images."""
    import transformers

    return transformers.RfDetrConfig(
        backbone_config={
            "model_type": "rf_detr_dinov2",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "image_size": 112,
            "num_windows": 2,
            "out_features": ["stage1", "stage2"],
        },
        d_model=32,
        decoder_ffn_dim=64,
        decoder_layers=2,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        num_queries=10,
        group_detr=1,
        c2f_num_blocks=1,
        id2label=dict(enumerate(labels)),
    )
