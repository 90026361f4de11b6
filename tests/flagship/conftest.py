"""Tiny models of the flagship classes, random weights, saved the way a hub repository has them."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import IMAGENET

from stpe.errors import MissingExtraError
from stpe.models.torch_runtime.torchvision_module import why_no_torchvision

# Before a test touches transformers: a torchvision that does not fit torch would break it.
with contextlib.suppress(MissingExtraError):
    why_no_torchvision()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own: what is measured of a model is kept there."""
    monkeypatch.setenv("STPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """save(class name, config, preprocessor settings) -> (folder, the model that was saved)."""

    def build(kind: str, config: Any, processor: dict[str, Any] | None = None) -> tuple[Path, Any]:
        import torch
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, kind)(config).eval()
        folder = tmp_path / kind
        model.save_pretrained(folder)
        settings = {"do_normalize": True, "resample": 3, **IMAGENET, **(processor or {})}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        return folder, model

    return build


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """A 96x160 picture with structure at several scales."""
    y, x = np.mgrid[0:96, 0:160].astype(np.float32)
    waves = [np.sin(x / 7) * np.cos(y / 5), np.sin((x + y) / 11), np.cos(x / 3)]
    return np.uint8(127 + 100 * np.stack(waves, -1))
