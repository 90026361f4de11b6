"""SAM 3 in video (Carion et al. 2025, arXiv 2511.16719): objects named or pointed at, followed.

One pass of the vision backbone a frame serves every word, every object, detector and tracker.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.errors import UsageError
from stpe.models.backends.transformers.sam3 import BACKBONE
from stpe.models.backends.transformers.sam3_attempts import AtOnce
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_session import Session
from stpe.models.backends.transformers.sam3_text import ConceptTexts
from stpe.models.roles import VideoFrames
from stpe.models.torch_runtime.network import Network
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch


class Sam3Video:
    """Role VideoSegmenter.

    The encoding of one frame is held at a time, whatever the number of sessions.

    Args:
        network: a Sam3VideoModel.
        prompts: words decoded at once, fewer where memory does not suffice for them.
        budget: bytes of one session's memories on the device.
    """

    def __init__(self, network: Network, prompts: int, budget: int) -> None:
        self.network = network
        detector = network.config.detector_config
        self.texts = ConceptTexts(
            network, detector.text_config, lambda: network.model.detector_model
        )
        self.at_once = AtOnce(prompts)
        self.budget = budget
        self._settings = network.processor()
        self._side = int(detector.vision_config.backbone_config.image_size)
        self._latest: tuple[weakref.ref[Session], int, Look] | None = None

    def open(self, frames: VideoFrames) -> Session:
        """A session on a video."""
        return Session(self, frames)

    def look(self, session: Session, index: int, image: ImageHW3) -> Look:
        """The encoding of a session's frame, in inference mode."""
        latest = self._latest
        if latest is not None and latest[0]() is session and latest[1] == index:
            return latest[2]
        del latest
        self._latest = None
        plane = self.network.sent(np.array(image)).permute(2, 0, 1)
        pixels = self.network.prepare(plane[None], (self._side, self._side), self._settings)
        look = Look(self.network, pixels, *image.shape[:2])
        self._latest = weakref.ref(session), index, look
        return look

    def held(self, session: Session) -> list[torch.Tensor]:
        """Tensors of the frame that is held for a session."""
        latest = self._latest
        return latest[2].tensors if latest is not None and latest[0]() is session else []

    def forget(self, session: Session) -> None:
        """Let go of the frame that is held for a session."""
        latest = self._latest
        if latest is not None and latest[0]() is session:
            self._latest = None

    def close(self) -> None:
        """Free the weights."""
        self._latest = None
        self.texts.clear()
        self.network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Sam3Video:
    """From a hub repository's folder; `prompts` (default 32 on a GPU, 4 on a CPU) words are
    decoded at once, `session_mb` (default 1024) megabytes a session's memories may take.

    Raises:
        UsageError: `prompts` or `session_mb` is not positive.
        ModelError: the folder is incomplete, damaged, or of another model.
    """
    backbone = (f"detector_model.{BACKBONE}",)
    network = Network("Sam3VideoModel", files["repository"], options, backbone, backbone)
    prompts = int(options.get("prompts") or (32 if network.device.startswith("cuda") else 4))
    budget = int(float(options.get("session_mb", 1024)) * (1 << 20))
    if prompts < 1 or budget < 1:
        raise UsageError("options prompts and session_mb must be positive")
    return Sam3Video(network, prompts, budget)
