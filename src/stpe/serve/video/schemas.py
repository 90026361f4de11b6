"""Bodies of the video sessions API. Boxes are [x, y, width, height] and points [x, y], both as
shares of the frame's width and height; masks COCO compressed RLE of the frame's size; times
seconds from the container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stpe.models.roles import Direction
from stpe.serve.tasks.schemas import Rle

Share = Annotated[float, Field(ge=0, le=1)]
FrameIndex = Annotated[int, Field(ge=0, le=1 << 31)]
ObjectId = Annotated[int, Field(ge=1, le=1 << 53)]


#: How masks are answered: COCO compressed counts as a string, `mask_size` beside it; or the object
#: {"size": [height, width], "counts"} that pycocotools takes.
MaskFormat = Literal["counts", "coco"]
_Format = Annotated[MaskFormat, Field(description="of answered masks; also a query parameter")]


class _Strict(BaseModel):
    """Fields that are not known are named in the answer's `warnings` and not used."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


def unused(body: BaseModel) -> list[str]:
    """A warning for each field of a body, and of what is in it, that is not known."""
    names = dict.fromkeys(_unknown(body))
    return [f"there is no field called {name[:60]!r}; it was not used" for name in names]


def _unknown(body: BaseModel) -> Iterator[str]:
    yield from body.model_extra or ()
    for name in type(body).model_fields:
        value = getattr(body, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                yield from _unknown(one)


class TextPrompt(_Strict):
    """Words: everything they name in the frame becomes an object."""

    type: Literal["text"]
    text: str = Field(min_length=1, max_length=200, examples=["person"])


class BoxPrompt(_Strict):
    """A box around the object; with label 0 around what is not of it."""

    type: Literal["box"]
    box: tuple[Share, Share, Share, Share] = Field(description="x, y, width, height")
    label: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _area(self) -> Self:
        if self.box[2] <= 0 or self.box[3] <= 0:
            raise ValueError("the box has no area")
        return self


class PointPrompt(_Strict):
    """A point on the object; with label 0 off it."""

    type: Literal["point"]
    point: tuple[Share, Share] = Field(description="x, y")
    label: Literal[0, 1] = 1


class MaskPrompt(_Strict):
    """The object itself."""

    type: Literal["mask"]
    mask: Rle | Annotated[str, Field(min_length=1)] = Field(
        description="COCO compressed RLE: {size, counts}, or the counts alone"
    )
    mask_size: tuple[int, int] | None = Field(
        default=None, description="height, width of counts alone; by default the frame's"
    )


Prompt = Annotated[TextPrompt | BoxPrompt | PointPrompt | MaskPrompt, Field(discriminator="type")]
Prompts = Annotated[list[Prompt], Field(min_length=1, max_length=64)]


class StartRequest(_Strict):
    """Exactly one of `video_path`, `video_url` and `upload_id`."""

    video_path: str | None = Field(
        default=None, min_length=1, max_length=4096,
        description="a video, or a folder of images, below one of STPE_SERVE_MEDIA_ROOTS",
    )  # fmt: skip
    video_url: str | None = Field(default=None, min_length=1, max_length=4096)
    upload_id: str | None = Field(default=None, min_length=1, max_length=64)
    gpu_ids: list[Annotated[int, Field(ge=0, le=1023)]] | None = Field(
        default=None, max_length=64, description="used only by models that run on GPUs"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [self.video_path, self.video_url, self.upload_id]
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of video_path, video_url and upload_id")
        return self


class VideoInfo(BaseModel):
    """What was measured by decoding the video once."""

    total_frames: int
    width: int
    height: int
    fps: float | None = Field(description="mean rate by presentation times")
    duration_s: float
    first_pts: float


class Started(BaseModel):
    """A new session."""

    session_id: str
    video_info: VideoInfo
    warnings: list[str]


class SessionStatus(BaseModel):
    """A session now."""

    session_id: str
    status: Literal["active", "processing"] = Field(
        description="processing while a request uses it; an ended session is a 404"
    )
    state: Literal["idle", "busy"] = Field(description="the same in this server's words")
    model: str
    video_info: VideoInfo
    current_objects: list[int] = Field(description="ids of the objects that are followed")
    object_ids: list[int] = Field(description="the same as `current_objects`")
    created_at: float = Field(description="seconds since 1970")
    idle_seconds: float = Field(description="since it was last used")
    expires_in_seconds: float
    memory_mb: float = Field(description="of frames, masks and features")


class SessionList(BaseModel):
    """Every session, oldest first."""

    sessions: list[SessionStatus]
    max_sessions: int


class Deleted(BaseModel):
    """What an ended session gave back."""

    session_id: str
    memory_freed_mb: float


class Reset(BaseModel):
    """A session without objects."""

    session_id: str
    objects_removed: int


class PromptRequest(_Strict):
    """What to follow. Words make an object of each thing they name; boxes, points and a mask
    together describe one object, or with `obj_id` correct that one."""

    frame_index: FrameIndex
    prompts: Prompts
    obj_id: ObjectId | None = None
    mask_format: _Format = "counts"


class FoundObject(BaseModel):
    """An object in one frame; `box` null and `mask` empty where it is not seen."""

    id: int
    mask: str | Rle = Field(
        description="COCO compressed RLE: its counts, or with mask_format coco {size, counts}"
    )
    mask_size: tuple[int, int] = Field(description="height, width")
    box: tuple[Share, Share, Share, Share] | None = Field(description="x, y, width, height")
    score: Share
    label: str | None = Field(default=None, description="the word it was found by")


class Prompted(BaseModel):
    """What a prompt made; no object where the words name nothing in the frame."""

    session_id: str
    frame_index: int
    pts: float
    obj_id: int | None = Field(description="the first of `obj_ids`")
    obj_ids: list[int]
    objects: list[FoundObject]
    warnings: list[str] = Field(description="what of the request was not done, and why")


class Removed(BaseModel):
    """An object that is not followed any more."""

    session_id: str
    obj_id: int
    object_ids: list[int] = Field(description="those left")


class PropagateRequest(_Strict):
    """Which frames, and in which order."""

    direction: Direction = "both"
    start_frame_index: FrameIndex | None = Field(
        default=None, description="answered first; by default the first prompted frame"
    )
    max_frames: Annotated[int, Field(ge=1, le=1 << 31)] | None = Field(
        default=None, description="most frames each way, the first included"
    )
    mask_format: _Format = "counts"


class FrameObjects(BaseModel):
    """The objects of one frame."""

    frame_index: int
    pts: float
    objects: list[FoundObject]


class FrameMessage(FrameObjects):
    """A frame over the WebSocket."""

    type: Literal["frame"] = "frame"


class Propagated(BaseModel):
    """Every frame, in the order in which they were followed."""

    session_id: str
    results: list[FrameObjects]
    total_frames: int
    processing_time_ms: float
    warnings: list[str] = Field(description="what of the request was not done, and why")


class Uploaded(BaseModel):
    """How much of an upload is here."""

    upload_id: str
    offset: int = Field(description="bytes here; where to go on")
    total_bytes: int | None
    complete: bool = Field(
        description="false while `total_bytes` are not here, or after a piece that broke off"
    )


class SegmentRequest(_Strict):
    """One image and what to find in it."""

    imageBase64: str = Field(min_length=1, description="the image file, in base64")
    mimeType: str = Field(default="image/jpeg", max_length=200)
    prompts: Prompts
    mask_format: _Format = "counts"


class SegmentedImage(BaseModel):
    """Objects of one image."""

    width: int
    height: int
    objects: list[FoundObject]
    model: str
    processing_time_ms: float
    warnings: list[str] = Field(description="what of the request was not done, and why")
