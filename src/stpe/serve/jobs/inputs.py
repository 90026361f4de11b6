"""What each operation takes. Field names and defaults are the prototype's."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    model_validator,
)

from stpe.serve.failures import InvalidInputError
from stpe.serve.payload import decode_base64

Granularity = Literal["brief", "normal", "detailed"]


def _base64(text: str) -> str:
    try:
        decode_base64(text, "the value")
    except InvalidInputError as error:
        raise ValueError(str(error)) from None
    return text


def _address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("a URL must begin with http:// or https://")
    return url


Base64 = Annotated[
    str,
    Field(
        description="base64 of any alphabet, or a data: URL of it",
        json_schema_extra={
            "contentEncoding": "base64",
            "pattern": "^(data:[^,]*,)?(?:[A-Za-z0-9+/]{4})*"
            "(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
        },
    ),
    AfterValidator(_base64),
]
Address = Annotated[
    str,
    Field(
        max_length=4096,
        json_schema_extra={"format": "uri", "pattern": "^https?://"},
        description="http or https, of the open internet",
    ),
    AfterValidator(_address),
]
UploadId = Annotated[
    str,
    Field(
        min_length=1, max_length=64,
        description="of a complete upload (`POST /uploads`), which stays until the job has ended",
    ),
]  # fmt: skip
FilePath = Annotated[
    str,
    Field(min_length=1, max_length=4096, description="below one of STPE_SERVE_MEDIA_ROOTS"),
]
Rate = Annotated[float, Field(ge=0.05, le=1000, allow_inf_nan=False, strict=True)]
Side = Annotated[int, Field(ge=16, le=16384, strict=True)]


class Input(BaseModel):
    """Base: what is not known is left alone, as the prototype does."""

    model_config = ConfigDict(extra="ignore")


def _either(*names: str) -> ConfigDict:
    """The schema of a model that takes one of some fields."""
    choices: list[JsonValue] = [
        {
            "required": [name],
            "properties": {n: {"type": "string" if n == name else "null"} for n in names},
        }
        for name in names
    ]
    return ConfigDict(json_schema_extra={"oneOf": choices})


def _one(value: Input, *names: str) -> None:
    if sum(getattr(value, name) is not None for name in names) != 1:
        raise ValueError(f"give one of {', '.join(names)}")


class Empty(Input):
    """Nothing."""


class Processing(Input):
    """How frames are looked at and what is answered, for a video or a ZIP of frames."""

    generate_captions: StrictBool = Field(True, description="narrate frames, shots and the video")
    dense_captions: StrictBool = Field(True, description="answer captions frame by frame")
    caption_interval: int = Field(
        1,
        ge=1,
        le=100_000,
        strict=True,
        description="of the analysed frames, every which has its captions",
    )
    caption_granularities: list[Granularity] | None = Field(
        None, min_length=1, description="all by default"
    )
    processing_resolution: tuple[Side, Side] | None = Field(
        None, description="[width, height] of analysed frames; by default the longer side is 854"
    )
    include_frame_embeddings: StrictBool = False
    include_frame_details: StrictBool = True
    context: str = Field("", max_length=10_000, description="told to the captions")


class ProcessVideo(Processing):
    """A video, to be looked at `fps` times a second."""

    model_config = _either("video_base64", "video_url", "upload_id", "video_path")

    video_base64: Base64 | None = None
    video_url: Address | None = None
    upload_id: UploadId | None = None
    video_path: FilePath | None = None
    fps: Rate = Field(2.0, description="analysed frames a second")

    @model_validator(mode="after")
    def _source(self) -> Self:
        _one(self, "video_base64", "video_url", "upload_id", "video_path")
        return self


class ProcessExtractedFrames(Processing):
    """A ZIP of frames, each with a JSON of the game's state beside it or without."""

    model_config = _either("zip_base64", "zip_url", "upload_id", "zip_path")

    zip_base64: Base64 | None = None
    zip_url: Address | None = None
    upload_id: UploadId | None = None
    zip_path: FilePath | None = None
    fps: Rate = Field(10.0, description="analysed frames a second")
    source_fps: Rate = Field(
        60.0, description="rate of the recording, where the frames carry no times of their own"
    )
    include_roblox_metadata: StrictBool = Field(True, description="answer each frame's game state")

    @model_validator(mode="after")
    def _source(self) -> Self:
        _one(self, "zip_base64", "zip_url", "upload_id", "zip_path")
        return self


class OneImage(Input):
    """An image."""

    model_config = _either("image_base64", "image_url")

    image_base64: Base64 | None = None
    image_url: Address | None = None

    @model_validator(mode="after")
    def _source(self) -> Self:
        _one(self, "image_base64", "image_url")
        return self


class ProcessImage(OneImage):
    """An image, to be looked at as a video of one frame."""

    generate_caption: StrictBool = True
    include_frame_details: StrictBool = True
    context: str = Field("", max_length=10_000, description="told to the caption")


class Caption(OneImage):
    """An image and how much to say of it."""

    detail_level: Granularity = "normal"
    context: str = Field("", max_length=10_000, description="told to the caption")


class EmbedText(Input):
    """A text."""

    text: str = Field(min_length=1, max_length=10_000)


class CompareFrames(Input):
    """Two images, earlier first."""

    frame1_base64: Base64
    frame2_base64: Base64


class GetAnalysis(Input):
    """A processed video."""

    video_id: str = Field(pattern=r"^[0-9a-f]{16}$", description="as `process_video` answers")
