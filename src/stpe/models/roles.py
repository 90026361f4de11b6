"""What a model does. Stages and the server speak to these protocols and to nothing else.

Shape legend: N images or instances, T frames, H W pixels, h w patches, C channels, D embedding
dimension, K classes. Images are uint8 RGB HxWx3 of any size: a backend resizes for itself and
answers in the pixels of the image it was given. Every method is safe to call from several threads
at once. Every backend object also has `close() -> None`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3

F32 = NDArray[np.float32]
BoolNHW = NDArray[np.bool_]
Direction = Literal["forward", "backward", "both"]

ROLES: tuple[str, ...] = (
    "image_embedder",
    "detector",
    "segmenter",
    "video_segmenter",
    "pose",
    "depth",
    "flow",
    "clip_classifier",
    "captioner",
    "text_embedder",
    "shot_detector",
)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of one image.

    Attributes:
        global_D: float32, unit L2.
        dense_hwD: float16 patch features.
        saliency_hw: float32 in 0..1 on the same grid, or None where the model gives none.
    """

    global_D: F32
    dense_hwD: NDArray[np.float16]
    saliency_hw: F32 | None = None


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one image: parallel arrays.

    Attributes:
        boxes_N4: float32 xyxy pixels, clipped to the image.
        scores_N: float32 in 0..1.
        labels: N class names.
    """

    boxes_N4: F32
    scores_N: F32
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Masks:
    """Masks of one image: `masks_NHW` bool at the image's size, `scores_N` predicted IoU 0..1."""

    masks_NHW: BoolNHW
    scores_N: F32


@dataclass(frozen=True, slots=True)
class Poses:
    """People of one image: `boxes_N4` xyxy pixels, `keypoints_N173` (x, y, score), `scores_N`."""

    boxes_N4: F32
    keypoints_N173: F32
    scores_N: F32


@dataclass(frozen=True, slots=True)
class Depth:
    """Depth of one image, larger is farther.

    Attributes:
        depth_HW: float32, metres or relative (positive, unitless).
        unit: "metres" or "relative".
        confidence: trust in the map as a whole, 0..1.
    """

    depth_HW: F32
    unit: Literal["metres", "relative"]
    confidence: float


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What a clip shows.

    Attributes:
        embedding_D: float32, unit L2.
        classes: (label, probability), best first; empty if none is known.
        class_confidence: probability that the clip shows its best class at all, as measured on
            footage with and without the model's classes; None where that was not measured.
        surprise: error of the model's own prediction of the clip's second half from its first,
            0 for a clip foreseen exactly; None where the model does not predict.
    """

    embedding_D: F32
    classes: tuple[tuple[str, float], ...]
    surprise: float | None = None
    class_confidence: float | None = None


@runtime_checkable
class ImageEmbedder(Protocol):
    """Global and dense self-supervised image features."""

    dimension: int

    def embed(self, images: Sequence[ImageHW3]) -> list[ImageFeatures]:
        """Features of each image."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Named-class boxes."""

    labels: tuple[str, ...]

    def detect(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Detections]:
        """Boxes of each image whose score reaches `threshold`, best first, after NMS."""
        ...


@runtime_checkable
class GuessedSegmenter(Protocol):
    """A segmenter that answers one object with all the masks it considers."""

    def candidates(self, encoded: Any, box_4: F32, points_P2: F32) -> Masks:
        """Masks for one object, told by a box (xyxy) and points on it together."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Masks from boxes, points or (where `accepts_text`) words, on one shared image encoding."""

    accepts_text: bool

    def encode(self, image: ImageHW3) -> Any:
        """An opaque encoding of the image, to be passed to the calls below any number of times."""
        ...

    def from_boxes(self, encoded: Any, boxes_N4: F32) -> Masks:
        """One mask a box (xyxy pixels of the encoded image)."""
        ...

    def from_points(self, encoded: Any, points_NP2: F32, labels_NP: NDArray[np.int32]) -> Masks:
        """One mask a prompt of P points (x, y pixels); label 1 foreground, 0 background."""
        ...

    def from_text(
        self, encoded: Any, concepts: Sequence[str], threshold: float = 0.5
    ) -> tuple[Detections, Masks]:
        """Every instance of every concept whose score exceeds `threshold`.

        Raises:
            ModelError: `accepts_text` is False.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class VideoPrompt:
    """What someone points at in one frame of a video, in pixels of the frame.

    Everything but `texts` describes one object together: the boxes and the mask are united, the
    points say what belongs to it, and boxes of label 0 are taken away. Points of label 0 alone take
    away what they stand on, of the boxes and the mask or of the object that is corrected.

    Attributes:
        texts: words; each may name several objects.
        boxes_N4: float32 xyxy; `box_labels_N` 1 for the object, 0 for what is not of it.
        points_P2: float32 x, y; `point_labels_P` 1 on the object, 0 off it.
        mask_HW: bool, at the frame's size.
    """

    texts: tuple[str, ...] = ()
    boxes_N4: F32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    box_labels_N: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    points_P2: F32 = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    point_labels_P: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    mask_HW: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VideoObject:
    """An object in one frame.

    Attributes:
        id: positive; never given to another object of the session.
        mask_HW: bool, at the frame's size; empty where the object is not seen.
        score: how surely the mask is the object, 0..1; falls when it is lost.
        label: the word that it was found by, or None.
    """

    id: int
    mask_HW: NDArray[np.bool_]
    score: float
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """The objects of one frame: its decoder index, its presentation time in seconds; what of a
    prompt was not done, and why."""

    index: int
    pts: float
    objects: tuple[VideoObject, ...]
    warnings: tuple[str, ...] = ()


class VideoFrames(Protocol):
    """Frames of a video by index, in as little memory as the owner allows; one thread at a time."""

    @property
    def pts(self) -> Sequence[float]:
        """Presentation time of each frame, in seconds; as many as there are frames."""
        ...

    def image(self, index: int) -> ImageHW3:
        """One frame. Cheapest in order, either way."""
        ...


class VideoSession(Protocol):
    """Objects that are followed through one video. One call at a time."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects that are there, in order of creation."""
        ...

    @property
    def held_bytes(self) -> int:
        """Memory that the session holds, beside the frames'."""
        ...

    def prompt(
        self, frame_index: int, prompt: VideoPrompt, object_id: int | None = None
    ) -> VideoFrame:
        """Make objects of what the prompt names in a frame, or correct one that is there.

        Returns:
            The objects made or corrected; none where the words name nothing in the frame.

        Raises:
            UsageError: there is no such frame or object, or the prompt names nothing.
        """
        ...

    def propagate(
        self,
        direction: Direction,
        start: int | None = None,
        max_frames: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[VideoFrame | None, None, None]:
        """Follow every object, frame by frame: None for one on the way to the first that is asked
        for, so that whoever iterates can stop there or let others work.

        Args:
            direction: "forward" or "backward" in time, or "both": forward, then backward.
            start: the first frame, by default that of the first prompt; it is answered first.
            max_frames: most frames answered each way, the first included; None for all there are.
            cancelled: looked at between frames; true ends the iteration.

        Raises:
            UsageError: nothing has been prompted, or there is no such frame.
        """
        ...

    def remove_object(self, object_id: int) -> None:
        """Forget one object; the others stay. Raises UsageError if it is not there."""
        ...

    def reset(self) -> None:
        """Forget every object; ids go on from where they were."""
        ...

    def close(self) -> None:
        """Free what the session holds."""
        ...


@runtime_checkable
class VideoSegmenter(Protocol):
    """Masks of prompted objects through a video.

    Where text is understood a model may hold back the first frames until it is sure of which
    objects there are ("hot start"): `propagate` then answers them late, never out of order.
    """

    def open(self, frames: VideoFrames) -> VideoSession:
        """A new session on a video, whose owner closes the frames after the session."""
        ...


@runtime_checkable
class PoseEstimator(Protocol):
    """17 COCO joints a person."""

    def estimate(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Poses]:
        """People of each image."""
        ...


@runtime_checkable
class BoxPoseEstimator(Protocol):
    """Joints of people whose boxes are known: a pose model that looks into one box at a time."""

    def joints(self, image: ImageHW3, boxes_N4: F32) -> F32:
        """N x 17 x 3 float32 (x, y in pixels, score in 0..1), the person in each box (xyxy)."""
        ...


@runtime_checkable
class DepthEstimator(Protocol):
    """Monocular depth."""

    def depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        """Depth of each image at the image's size."""
        ...


@runtime_checkable
class FlowEstimator(Protocol):
    """Dense optical flow.

    Attributes:
        coarser: how many times smaller the images may be where its flow is only to be checked.
    """

    coarser: int

    def flow(self, image_a: ImageHW3, image_b: ImageHW3) -> F32:
        """HxWx2 float32, pixels that each point of `a` moves to reach `b` (u right, v down)."""
        ...


@runtime_checkable
class ClipClassifier(Protocol):
    """Embedding and classes of a short clip; it was trained on `length` frames at `fps`.

    One that `resamples` takes `length` frames evenly from clips of about that many seconds; else it
    is shown at most `length` frames at `fps`, and sees each once.
    """

    length: int
    fps: float
    resamples: bool
    dimension: int
    labels: tuple[str, ...]

    def classify(self, frames_THWC: NDArray[np.uint8], top_k: int = 5) -> ClipResult:
        """Embed and classify T RGB frames."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Sentence embeddings."""

    dimension: int

    def embed_text(self, texts: Sequence[str]) -> F32:
        """len(texts) x dimension float32, rows unit L2."""
        ...


@runtime_checkable
class ShotDetector(Protocol):
    """Probability, a frame, that a transition happens there.

    `frame_size` (width, height) and `context` (frames needed either side) belong to the model.
    """

    frame_size: tuple[int, int]
    context: int

    def transitions(self, frames_THWC: NDArray[np.uint8]) -> tuple[F32, F32]:
        """(cut_T, gradual_T) in 0..1 for T frames of `frame_size`; the caller supplies context."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Text about images, given facts."""

    def caption(
        self, images: Sequence[ImageHW3], facts: str, context: str = "", previous: str = ""
    ) -> dict[Literal["brief", "normal", "detailed"], str]:
        """Three granularities from one generation.

        `facts` is what was measured, `context` what the user said, `previous` what was said of
        the frame before.
        """
        ...
