"""Video in: sources, exact presentation times, one decode pass for many sampling grids."""

from stpe.video.frame import Frame, Grid, ImageHW3, SourceInfo
from stpe.video.limits import Limits
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
