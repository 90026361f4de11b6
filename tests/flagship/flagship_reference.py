"""Preprocessing written again from its definition, to compare the backends with."""

from typing import Any

import numpy as np

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def normalised(picture: np.ndarray, height: int, width: int, mode: str = "bicubic") -> Any:
    """1x3xHxW float32: 0..1, resized with antialiasing, ImageNet mean and deviation."""
    import torch

    plane = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    if plane.shape[-2:] != (height, width):
        plane = torch.nn.functional.interpolate(plane, (height, width), mode=mode, antialias=True)
        plane = plane.clamp(0, 1)
    mean, std = (torch.tensor(IMAGENET[k]).view(1, 3, 1, 1) for k in ("image_mean", "image_std"))
    return (plane - mean) / std
