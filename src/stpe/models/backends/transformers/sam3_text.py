"""SAM 3's text features, those of known concepts from memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stpe.models.torch_runtime.network import Network, import_torch

if TYPE_CHECKING:
    import torch

_REMEMBERED = 1024  # concepts whose features are kept


class ConceptTexts:
    """Features of concepts, each encoded once.

    Args:
        network: it gives the tokenizer and the device.
        config: of the Sam3Model's text encoder.
        detector: gives the Sam3Model, which the memory planner may have read anew.

    Raises:
        ModelError: the network's folder has no tokenizer.
    """

    def __init__(self, network: Network, config: Any, detector: Callable[[], Any]) -> None:
        self._detector = detector
        self._device = network.device
        self._tokenizer = network.tokenizer()
        self._length = int(config.max_position_embeddings)
        self._known: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def features(self, concepts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features P x L x D and validity P x L of P concepts padded to L tokens."""
        torch = import_torch()
        with self._lock:
            new = [c for c in dict.fromkeys(concepts) if c not in self._known]
            if new:
                tokens = self._tokenizer(
                    new,
                    padding="max_length",
                    max_length=self._length,
                    truncation=True,
                    return_tensors="pt",
                ).to(self._device)
                mask = tokens["attention_mask"]
                features = (
                    self._detector()
                    .get_text_features(
                        input_ids=tokens["input_ids"], attention_mask=mask, return_dict=True
                    )
                    .pooler_output
                )
                self._known.update(zip(new, zip(features, mask.bool(), strict=True), strict=True))
            asked = [self._known[c] for c in concepts]
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return torch.stack([f for f, _ in asked]), torch.stack([v for _, v in asked])

    def clear(self) -> None:
        """Forget every concept."""
        self._known.clear()
