"""Video in: sources, exact presentation times, one decode pass for many sampling grids."""

from typing import TYPE_CHECKING, Any

from stpe.video.frame import Frame, Grid, ImageHW3, SourceInfo
from stpe.video.limits import Limits

if TYPE_CHECKING:
    from stpe.video.opening import open_source
    from stpe.video.sampler import Measured, Sampled, Sampler, sample
    from stpe.video.source import Decoded, Source

__all__ = [
    "Decoded",
    "Frame",
    "Grid",
    "ImageHW3",
    "Limits",
    "Measured",
    "Sampled",
    "Sampler",
    "Source",
    "SourceInfo",
    "open_source",
    "sample",
]

_HOMES = {
    "open_source": "opening",
    "sample": "sampler",
    "Measured": "sampler",
    "Sampled": "sampler",
    "Sampler": "sampler",
    "Decoded": "source",
    "Source": "source",
}


def __getattr__(name: str) -> Any:
    # On first use: models know what a frame is without a decoder.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"stpe.video.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'stpe.video' has no attribute {name!r}")
