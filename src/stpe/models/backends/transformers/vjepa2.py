"""V-JEPA 2 (Assran et al. 2025, arXiv 2506.09985): clip embedding, classes and surprise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.clip_input import crop_of, trained_on
from stpe.models.roles import F32, ClipResult
from stpe.models.torch_runtime.network import Network, import_torch

if TYPE_CHECKING:
    import torch


class VJEPA2:
    """Role ClipClassifier. It sees frames as they are, none twice: of a clip shorter than `length`
    what fills whole tubelets, of a longer one `length` frames taken evenly.

    Surprise is what the network was trained to make small: the first half of the clip is encoded
    alone, the predictor foresees the features of the second half, and the mean absolute difference
    from the features that the whole clip gives there (each brought to mean 0 and deviation 1, as
    in training) is the surprise; Garrido et al. 2025 (arXiv 2502.11831) show that it tells
    possible events from impossible ones.
    """

    resamples = False

    def __init__(self, network: Network) -> None:
        config = network.config
        self._network = network
        self._settings = network.processor("video")
        clip = trained_on(config.to_dict(), self._settings)
        self._crop = crop_of(config.to_dict(), self._settings)
        self._short_side = clip.short_side
        self._tubelet = int(config.tubelet_size)
        self.length = clip.frames
        self.fps = clip.fps
        self.dimension = int(config.hidden_size)
        names = {int(number): label for number, label in config.id2label.items()}
        self.labels = tuple(names[number] for number in sorted(names))

    def classify(self, frames_THWC: NDArray[np.uint8], top_k: int = 5) -> ClipResult:
        """Embed and classify T RGB frames.

        Raises:
            UsageError: there is no frame.
            ModelError: the clip does not fit into the device's memory.
        """
        if frames_THWC.ndim != 4 or not len(frames_THWC):
            raise UsageError("a clip needs at least one frame (T x height x width x 3)")
        embedding_D, probabilities, surprise = self._network.batched(
            [frames_THWC[self._taken(len(frames_THWC))]], self._clips
        )[0]
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        classes = tuple((self.labels[i], float(probabilities[i])) for i in best)
        norm = max(float(np.linalg.norm(embedding_D)), 1e-12)
        return ClipResult(embedding_D / norm, classes, surprise)

    def _taken(self, count: int) -> NDArray[np.intp]:
        if count > self.length:
            return ((np.arange(self.length) + 0.5) * count / self.length).astype(np.intp)
        if count < self._tubelet:  # a picture stands still for one tubelet
            return np.minimum(np.arange(self._tubelet), count - 1)
        return np.arange(count - count % self._tubelet)

    def _clips(self, clips: Sequence[NDArray[np.uint8]]) -> list[tuple[F32, F32, float | None]]:
        """Embedding, class probabilities and surprise of each clip."""
        torch = import_torch()
        pixels = torch.stack([self._pixels(clip) for clip in clips])
        model = self._network.model
        features = model.vjepa2.encoder(pixel_values_videos=pixels).last_hidden_state
        embeddings = model.pooler(features)
        probabilities = model.classifier(embeddings).float().softmax(-1).cpu().numpy()
        surprises = self._surprises(pixels, features)
        return list(zip(embeddings.float().cpu().numpy(), probabilities, surprises, strict=True))

    def _pixels(self, frames_THWC: NDArray[np.uint8]) -> torch.Tensor:
        """T x 3 x crop x crop: the centre square, as in training."""
        height, width = frames_THWC.shape[1:3]
        scale = self._short_side / min(height, width)
        rows, columns = (max(self._crop, round(side * scale)) for side in (height, width))
        planes = self._network.sent(frames_THWC).permute(0, 3, 1, 2)
        clip = self._network.prepare(planes, (rows, columns), self._settings)
        top, left = (rows - self._crop) // 2, (columns - self._crop) // 2
        return clip[:, :, top : top + self._crop, left : left + self._crop]

    def _surprises(
        self, clips_BT3HW: torch.Tensor, features_BND: torch.Tensor
    ) -> list[float] | list[None]:
        torch = import_torch()
        steps = clips_BT3HW.shape[1] // self._tubelet
        if steps < 2:
            return [None] * len(clips_BT3HW)
        past = steps // 2
        model = self._network.model.vjepa2
        seen = model.encoder(pixel_values_videos=clips_BT3HW[:, : past * self._tubelet])
        context = seen.last_hidden_state
        places = torch.arange(features_BND.shape[1], device=context.device)
        places = places.expand(len(context), -1)
        split = context.shape[1]
        foreseen = model.predictor(
            encoder_hidden_states=context,
            context_mask=[places[:, :split]],
            target_mask=[places[:, split:]],
        ).last_hidden_state.float()
        target = features_BND[:, split:].float()
        target = torch.nn.functional.layer_norm(target, target.shape[-1:])
        return list((foreseen - target).abs().mean((1, 2)).tolist())

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> VJEPA2:
    """From a hub repository's folder."""
    parts = ("vjepa2.encoder", "vjepa2.predictor")
    return VJEPA2(Network("VJEPA2ForVideoClassification", files["repository"], options, parts))
