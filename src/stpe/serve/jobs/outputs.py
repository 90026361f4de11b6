"""What each operation answers. Field names are the prototype's; null is what was not measured."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

Row = dict[str, Any]


class Healthy(BaseModel):
    """The worker runs."""

    status: str = "healthy"
    version: str
    profile: str
    cuda_available: bool
    device_name: str | None
    models: dict[str, str] = Field(description="model id by role")
    missing: dict[str, str] = Field(description="role to why no model plays it")


class GlobalStats(BaseModel):
    """Level 1."""

    frames_processed: int
    embedding_dim: int | None


class ObjectStats(BaseModel):
    """Level 2."""

    total_objects_detected: int
    tracks_created: int
    avg_objects_per_frame: float


class DenseStats(BaseModel):
    """Level 3, and the graph of relations."""

    frames_with_dense: int
    scene_graph_nodes: int = Field(description="tracks that stand in some relation")


class LevelStats(BaseModel):
    """Figures of the three levels."""

    level1_global: GlobalStats
    level2_objects: ObjectStats
    level3_dense: DenseStats


class Captions(BaseModel):
    """What was told of a video."""

    summary: str
    events: list[Row] = Field(
        description="`timestamp`, `frame_idx`, `action`, `active_tracks` of captioned frames"
    )
    tracked_objects: list[Row]


class DenseCaptions(BaseModel):
    """Captions frame by frame."""

    video_id: str
    total_frames: int
    fps: float
    frame_captions: list[Row] = Field(
        description="`frame_idx`, `timestamp`, `captions`, `objects`, `quality`"
    )
    summary: str
    all_objects: list[str]
    key_events: list[Row]


class Video(BaseModel):
    """A processed video. Frames are numbered in analysed frames; times are the container's."""

    video_id: str
    num_frames: int = Field(description="analysed")
    clip_embedding: list[float] | None
    temporal_features_shape: list[int] | None = Field(
        description="[frames, dimension] of what the clip embedding pools"
    )
    num_tracks: int
    captions: Captions | None
    processing_resolution: list[int] | None
    dense_captions: DenseCaptions | None = None
    caption_stats: Row | None = None
    level_stats: LevelStats
    frame_embeddings: list[list[float] | None] | None = None
    frame_details: list[Row] | None = None
    source_type: str = "video"
    roblox_metadata: dict[int, Row] | None = Field(None, description="by frame, from 1")
    metadata_stats: Row | None = None


class Analysis(Video):
    """The same with `analysis.json`."""

    summary: str
    stats: Row
    frames: list[Row]
    key_events: list[Row]
    tracked_objects: list[Row]


class Image(BaseModel):
    """An image as a video of one frame."""

    video_id: str = Field(description="first 16 hex digits of the image file's sha256")
    num_frames: int = 1
    clip_embedding: list[float] | None
    temporal_features_shape: list[int] | None
    num_tracks: int = 0
    captions: Row | None = Field(description="`summary`, and `brief`, `normal`, `detailed`")
    level_stats: LevelStats
    frame_details: list[Row] | None = None


class Embedding(BaseModel):
    """A vector of unit length."""

    embedding: list[float]
    dim: int
    model: str


class ImageEmbedding(Embedding):
    """Of an image."""

    dinov3_embedding: list[float] = Field(
        description="the same vector under the prototype's name; `model` says whose it is"
    )


class Frame(ImageEmbedding):
    """Of a frame, with the objects in it."""

    frame_width: int
    frame_height: int
    num_objects: int
    objects: list[Row]


class Captioned(BaseModel):
    """Text for an image."""

    caption: str
    captions: dict[str, str] = Field(description="at every level of detail")


class Comparison(BaseModel):
    """How the second image differs from the first."""

    description: str
    similarity: float | None = Field(description="cosine of the embeddings, -1..1")
    appeared: dict[str, int]
    disappeared: dict[str, int]
    common: dict[str, int]


class Videos(BaseModel):
    """Every processed video."""

    videos: list[Row] = Field(
        description="`video_id`, `num_frames`, `duration_s`, `width`, `height`, `summary`"
    )
    count: int


class MemoryStats(BaseModel):
    """Memory of the worker; of the GPU where there is one."""

    resident_gb: float
    available: bool = Field(description="whether there is a GPU")
    allocated_gb: float | None = None
    reserved_gb: float | None = None
    max_allocated_gb: float | None = None
    total_gb: float | None = None
    utilization_percent: float | None = None
    devices: list[Row] = Field(
        default_factory=list,
        description="each device that models are on: its bytes in all and free, and of each model "
        "the weights, whether they are there now, batch sizes, and measured peaks",
    )
