"""Bodies of `POST /infer`. Boxes are [x0, y0, x1, y1] in pixels of the upright image; masks COCO
compressed RLE of its size; times seconds from the container."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Box = Annotated[list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 pixels")]
Velocity = Annotated[list[float], Field(min_length=2, max_length=2, description="x right, y down")]
Score = Annotated[float, Field(ge=0, le=1)]


class Options(BaseModel):
    """Options of a task. Others than these are named in the answer's `warnings` and not used."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    threshold: Score = Field(default=0.3, description="least score of what is reported")


class ConceptOptions(Options):
    """What to look for."""

    text_prompt: str = Field(
        min_length=1, max_length=1000, description="concepts, separated by commas",
        examples=["person, bicycle"],
    )  # fmt: skip
    threshold: Score = Field(default=0.25, description="least score of what is reported")
    max_frames: int = Field(default=121, ge=1, le=2000, description="of a video, from its start")


class VelocityOptions(Options):
    """How to measure."""

    threshold: Score = Field(default=0.5, description="score from which an object is tracked")
    max_frames: int = Field(
        default=121, ge=2, le=2000, description="frames looked at, from the start"
    )
    max_pairs: int = Field(
        default=120, ge=1, le=2000, description="pairs of frames with optical flow"
    )
    meter_per_pixel: float = Field(
        default=0.05, gt=0, le=1e6, description="of the video's own pixels"
    )
    imgsz: int = Field(
        default=640, ge=64, le=1920, description="longer side of the frames looked at"
    )


class DepthOptions(BaseModel):
    """None that a depth model takes."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


def _none_is_empty(value: object) -> object:
    return {} if value is None else value


class _Request(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: str | None = Field(default=None, max_length=200,
        description="the model that the client has in mind; where another plays the role here, "
        "that one answers, and `model` and `warnings` of the answer say so",
    )  # fmt: skip
    payloadBase64: str = Field(min_length=1, description="the image or video file, in base64")
    mimeType: str = Field(
        max_length=200, description="what the payload is", examples=["image/jpeg", "video/mp4"]
    )


class DetectRequest(_Request):
    """Named objects of an image."""

    task: Literal["object-detection"]
    options: Annotated[Options, BeforeValidator(_none_is_empty)] = Options()


class SegmentRequest(_Request):
    """Named objects of an image with masks."""

    task: Literal["image-segmentation"]
    options: Annotated[Options, BeforeValidator(_none_is_empty)] = Options()


class PoseRequest(_Request):
    """People of an image with 17 COCO joints."""

    task: Literal["pose-estimation"]
    options: Annotated[Options, BeforeValidator(_none_is_empty)] = Options()


class ConceptRequest(_Request):
    """What words name, in an image or a video."""

    task: Literal["sam3-concept-segmentation"]
    options: ConceptOptions


class DepthRequest(_Request):
    """Depth of an image."""

    task: Literal["depth-estimation"]
    options: Annotated[DepthOptions, BeforeValidator(_none_is_empty)] = DepthOptions()


class VelocityRequest(_Request):
    """Tracked objects of a video with their velocities."""

    task: Literal["velocity-estimation"]
    options: Annotated[VelocityOptions, BeforeValidator(_none_is_empty)] = VelocityOptions()


InferRequest = Annotated[
    DetectRequest | SegmentRequest | PoseRequest | ConceptRequest | DepthRequest | VelocityRequest,
    Field(discriminator="task"),
]


class Rle(BaseModel):
    """A mask as COCO compressed run lengths."""

    size: tuple[int, int] = Field(description="height, width")
    counts: str


class Found(BaseModel):
    """One object."""

    label: str
    score: Score
    box: Box


class Segmented(Found):
    """One object with its mask; null where the segmenter found none in the box."""

    mask: Rle | None
    mask_score: Score | None = Field(description="IoU that the segmenter expects of the mask")


class Joint(BaseModel):
    """One joint of a person."""

    name: str
    x: float
    y: float
    score: float


class Person(Found):
    """One person; `keypoints` null where no pose fits the person's box."""

    keypoints: Annotated[list[Joint], Field(min_length=17, max_length=17)] | None


class DepthMap(BaseModel):
    """Depth of every pixel, larger is farther."""

    unit: Literal["metres", "relative"]
    confidence: Score = Field(description="trust in the map as a whole")
    minimum: float
    maximum: float
    png_base64: str = Field(
        description="16-bit grey PNG of the image's size; "
        "depth = minimum + (maximum - minimum) * value / 65535"
    )


class ConceptMatch(BaseModel):
    """What a concept was taken to mean; `labels` empty where nothing here can find it."""

    concept: str
    labels: list[str]


class ConceptObservation(BaseModel):
    """An object in one frame of a video."""

    frame_index: int
    pts: float
    score: Score
    box: Box
    mask: Rle | None
    mask_score: Score | None


class ConceptObject(BaseModel):
    """One object: in an image with box and mask, in a video with its observations."""

    label: str = Field(description="the concept, as it was asked for")
    detected_as: str
    score: Score = Field(description="in a video the mean of its observations")
    object_id: int | None = Field(default=None, description="identity within the video")
    box: Box | None = None
    mask: Rle | None = None
    mask_score: Score | None = None
    observations: list[ConceptObservation] | None = None


class VelocityObservation(BaseModel):
    """An object in one frame, with its velocity since the frame before; null where unknown.

    `object_velocity_px_s` is what is left of `velocity_px_s` without the camera's part.
    """

    frame_index: int
    pts: float
    score: Score
    box: Box
    velocity_px_s: Velocity | None
    velocity_std_px_s: float | None
    velocity_m_s: Velocity | None
    object_velocity_px_s: Velocity | None


class VelocityObject(BaseModel):
    """One tracked object; velocities are means over its observations, null if none is known."""

    track_id: int
    label: str
    score: Score
    velocity_px_s: Velocity | None
    speed_px_s: float | None = Field(description="mean length, not length of the mean")
    velocity_m_s: Velocity | None
    speed_m_s: float | None
    object_speed_px_s: float | None = Field(description="mean, without the camera's part")
    observations: list[VelocityObservation]


class Timing(BaseModel):
    """What a video task looked at."""

    fps: float | None = Field(description="as the container claims")
    frames_analysed: int
    first_pts: float
    last_pts: float
    truncated: bool = Field(description="whether the video is longer than max_frames")


class _Answer(BaseModel):
    model: str = Field(description="model id; several are joined by +")
    width: int = Field(description="of the upright image or video")
    height: int
    processing_time_ms: float
    warnings: list[str] = Field(description="what of the request was not done, and why")


class DetectAnswer(_Answer):
    """Objects, best first."""

    task: Literal["object-detection"] = "object-detection"
    results: list[Found]


class SegmentAnswer(_Answer):
    """Objects, best first, at most 100."""

    task: Literal["image-segmentation"] = "image-segmentation"
    results: list[Segmented]


class PoseAnswer(_Answer):
    """People, best first."""

    task: Literal["pose-estimation"] = "pose-estimation"
    results: list[Person]


class ConceptAnswer(_Answer):
    """Objects of the concepts."""

    task: Literal["sam3-concept-segmentation"] = "sam3-concept-segmentation"
    results: list[ConceptObject]
    concepts: list[ConceptMatch]
    video: Timing | None = None


class DepthAnswer(_Answer):
    """One depth map."""

    task: Literal["depth-estimation"] = "depth-estimation"
    results: Annotated[list[DepthMap], Field(min_length=1, max_length=1)]


class VelocityAnswer(_Answer):
    """Tracked objects, in order of appearance."""

    task: Literal["velocity-estimation"] = "velocity-estimation"
    results: list[VelocityObject]
    meter_per_pixel: float
    video: Timing


InferAnswer = Annotated[
    DetectAnswer | SegmentAnswer | PoseAnswer | ConceptAnswer | DepthAnswer | VelocityAnswer,
    Field(discriminator="task"),
]
