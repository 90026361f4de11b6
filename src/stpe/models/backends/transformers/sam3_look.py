"""One frame of a video as SAM 3 sees it: encoded once for every prompt, detector and tracker."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING

from stpe.models.backends.transformers.sam3_concepts import Scene
from stpe.models.torch_runtime.network import Network

if TYPE_CHECKING:
    import torch


class Look:
    """A frame's encoding. Each neck is run when it is first needed, in inference mode.

    Args:
        network: of a Sam3VideoModel.
        pixels_13HW: the prepared frame.
        height, width: of the frame itself.
    """

    def __init__(
        self, network: Network, pixels_13HW: torch.Tensor, height: int, width: int
    ) -> None:
        self.height = height
        self.width = width
        self._network = network
        backbone = network.model.detector_model.vision_encoder.backbone
        self._tokens_1SD: torch.Tensor = network.kept(backbone(pixels_13HW).last_hidden_state)

    @cached_property
    def scene(self) -> Scene:
        """The detector's view."""
        model = self._network.model
        rows, columns = model.tracker_model.prompt_encoder.image_embedding_size
        grid = self._tokens_1SD.view(1, rows, columns, -1).permute(0, 3, 1, 2)
        levels, places = model.detector_model.vision_encoder.neck(grid)
        return Scene(list(levels[:-1]), places[-2])

    @cached_property
    def tracked(self) -> dict[str, list[torch.Tensor]]:
        """The tracker's features and positions, as a session of transformers caches them."""
        vision = SimpleNamespace(last_hidden_state=self._tokens_1SD)
        features, places = self._network.model.get_vision_features_for_tracker(vision)
        return {"vision_feats": features, "vision_pos_embeds": places}

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that is held now."""
        held = [self._tokens_1SD]
        for values in self.__dict__.get("tracked", {}).values():
            held += values
        scene = self.__dict__.get("scene")
        return held if scene is None else held + scene.tensors
