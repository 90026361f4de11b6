"""Bodies of the clip classification API."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

FRAMES, BEST = 16, 5


class Clip(BaseModel):
    """Sixteen frames of one size, oldest first."""

    frames: list[str] = Field(
        min_length=FRAMES,
        max_length=FRAMES,
        description="base64 of width x height x 3 bytes, rows from the top; or of a JPEG or PNG",
    )
    width: int = Field(ge=1, le=16384)
    height: int = Field(ge=1, le=16384)
    format: Literal["BGR", "RGB"] = Field(default="BGR", description="byte order of raw frames")


class Prediction(BaseModel):
    """A class and its probability."""

    label: str
    confidence: float = Field(ge=0, le=1)


class ReadClassified(BaseModel):
    """The best classes, most probable first, of any server that has this API; other makes leave out
    `model` and the time."""

    predictions: list[Prediction]
    clip_id: str = Field(description="names this answer in logs")
    model: str | None = None
    processing_time_ms: float | None = None


class Classified(ReadClassified):
    """The best classes, most probable first."""

    predictions: list[Prediction] = Field(max_length=BEST)
    model: str
    processing_time_ms: float
