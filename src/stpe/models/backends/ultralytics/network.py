"""A YOLO26 checkpoint in torch, from images to rows of predictions in their pixels.

The package is AGPL-3.0, so it is an extra of its own and imported here, where a model was named
that needs it. Only its layers and its restricted unpickler are used: nothing is downloaded,
installed or reported by it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stpe.errors import MissingExtraError, ModelError
from stpe.models.roles import F32
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

_GREY = 114 / 255  # what the network saw around an image in training
_OVERLAP = 0.7  # IoU above which the weaker of two boxes goes, for heads that need it


class YoloNetwork(Network):
    """A checkpoint for one task, "detect" or "pose".

    Options as for `Network`, but float32 unless told otherwise: box corners are decoded inside the
    network, and bfloat16 cannot tell neighbouring pixels apart. `size`: the longer side that
    images are resized to (default that of training).

    Attributes:
        names: class names by number.
        joints: (joints, values a joint) of a pose network.
    """

    def __init__(self, task: str, file: Path, options: Mapping[str, Any]) -> None:
        super().__init__(task, file, {"dtype": "float32", **options})
        if options.get("size"):
            self._side = int(options["size"])

    def read(self, kind: str) -> Any:
        """The fused network, from a checkpoint that is read without running code from it."""
        torch_safe_load = _import()
        try:
            checkpoint, _ = torch_safe_load(str(self.folder), safe_only=True)
            model = checkpoint.get("ema") or checkpoint["model"]
            task = getattr(model, "task", None) or checkpoint["train_args"]["task"]
        except Exception as error:  # torch, pickle and ultralytics raise many types
            raise ModelError(
                f"{self.folder} cannot be read as a YOLO checkpoint: {error}"
            ) from error
        if task != kind:
            raise ModelError(f"{self.folder} is a YOLO network for {task!r}, not for {kind!r}")
        head = model.model[-1]
        if getattr(head, "one2one_cv2", None) is not None:
            model.end2end = True  # the head that needs no suppression of overlaps
        model = model.float().eval().fuse(verbose=False).to(self.dtype)
        self.names: tuple[str, ...] = tuple(model.names[i] for i in sorted(model.names))
        self.joints: tuple[int, int] | None = getattr(head, "kpt_shape", None)
        self._stride = max(int(model.stride.max()), 32)
        self._side = int(checkpoint.get("train_args", {}).get("imgsz") or 640)
        return model

    def predictions(self, threshold: float, images: Sequence[ImageHW3]) -> list[F32]:
        """For images of one shape, rows of (x1, y1, x2, y2, score, class, joints...), best first.

        As in the network's training an image is resized bilinearly to `size` and set in the middle
        of grey, up to whole strides.
        """
        torch = import_torch()
        from ultralytics.utils.nms import non_max_suppression

        height, width = images[0].shape[:2]
        scale = min(self._side / height, self._side / width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        spare_y, spare_x = -rows % self._stride, -columns % self._stride
        top, left = spare_y // 2, spare_x // 2
        planes = torch.cat([self.uploads.get(image)[None] for image in images])
        planes = planes.to(self.dtype) / 255
        if (rows, columns) != (height, width):
            planes = torch.nn.functional.interpolate(
                planes, (rows, columns), mode="bilinear", align_corners=False
            )
        around = (left, spare_x - left, top, spare_y - top)
        answer = self.model(torch.nn.functional.pad(planes, around, value=_GREY))
        found = non_max_suppression(
            answer,
            min(threshold, 1.0),
            _OVERLAP,
            nc=len(self.names),
            end2end=bool(self.model.end2end),
        )
        results = []
        for part in found:
            values = part.float().cpu().numpy()
            step = self.joints[1] if self.joints else 1
            for first, stride, count in ((0, 2, 4), (6, step, values.shape[1])):
                if first < count:
                    x = values[:, first:count:stride]
                    y = values[:, first + 1 : count : stride]
                    np.clip((x - left) * (width / columns), 0, width, out=x)
                    np.clip((y - top) * (height / rows), 0, height, out=y)
            results.append(values)
        return results


def _import() -> Any:
    """Its restricted loader, with everything off that a library should not do by itself."""
    for name, value in (("OFFLINE", "true"), ("AUTOINSTALL", "false"), ("VERBOSE", "false")):
        os.environ.setdefault(f"YOLO_{name}", value)
    try:
        from ultralytics.nn.tasks import torch_safe_load
    except ImportError as error:
        raise MissingExtraError(
            "YOLO needs ultralytics (AGPL-3.0) and torchvision: pip install 'stpe[ultralytics]'"
        ) from error
    except RuntimeError as error:  # a torchvision that was built for another torch
        raise ModelError(
            f"ultralytics needs a torchvision that fits torch {import_torch().__version__}; "
            f"install one ({error})"
        ) from error
    return torch_safe_load
