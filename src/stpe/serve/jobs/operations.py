"""The operations, one function each, and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stpe import __version__
from stpe.dataset.layout import MANIFEST
from stpe.dataset.reader import Dataset, open_dataset
from stpe.engine import Result
from stpe.errors import ModelError
from stpe.pipeline.progress import Progress
from stpe.serve.failures import InvalidInputError, NotFoundError
from stpe.serve.jobs import answers, inputs, media, outputs
from stpe.serve.jobs.accelerator import accelerator
from stpe.serve.jobs.beside import into_dataset
from stpe.serve.jobs.media import Worker
from stpe.video.frame import ImageHW3

_CAPTIONS = (
    *(f"{table}.caption_{level}" for table in ("frames", "shots") for level in answers.LEVELS),
    "frames.caption_evidence",
    "frames.caption_facts",
    *(f"frames.vlm_{part}" for part in (*answers.LEVELS, "contradictions")),
    "videos.summary",
)


def health(_: inputs.Empty, worker: Worker) -> outputs.Healthy:
    """Whether the worker runs, and on what."""
    selection, gpu = worker.engine.selection, accelerator()
    return outputs.Healthy(
        version=__version__,
        profile=selection.profile,
        cuda_available=gpu is not None,
        device_name=None if gpu is None else gpu.name,
        models={role: model.id for role, model in selection.models.items()},
        missing=dict(selection.missing),
    )


def process_video(asked: inputs.ProcessVideo, worker: Worker) -> outputs.Video:
    """Process a video into the dataset."""
    given = media.Given(asked.video_base64, asked.video_url, asked.upload_id, asked.video_path)
    with media.file(worker, given, "video") as path:
        return _process(path, asked, asked.fps, None, worker)


def process_extracted_frames(asked: inputs.ProcessExtractedFrames, worker: Worker) -> outputs.Video:
    """Process a ZIP of frames, and of the game's state, into the dataset."""
    given = media.Given(asked.zip_base64, asked.zip_url, asked.upload_id, asked.zip_path)
    with media.file(worker, given, "frames.zip") as path:
        return _process(path, asked, asked.fps, asked.source_fps, worker)


def _process(
    path: Path, asked: inputs.Processing, fps: float, image_fps: float | None, worker: Worker
) -> outputs.Video:
    told = asked.generate_captions or asked.dense_captions

    def process(dataset: Path, progress: Progress) -> Result:
        return worker.engine.process(
            path,
            dataset,
            fps=fps,
            resolution=asked.processing_resolution or 854,
            without=() if told else _CAPTIONS,
            context=asked.context,
            image_fps=image_fps,
            replace=True,
            limits=worker.limits,
            progress=progress,
        )

    result = into_dataset(worker, path, process)
    video_id = result.videos[0].video_id
    assert video_id is not None
    return answers.video(open_dataset(worker.dataset), video_id, asked, fps)


def process_image(asked: inputs.ProcessImage, worker: Worker) -> outputs.Image:
    """Look at an image as at a video of one frame; nothing is stored."""
    image, image_id = media.image(worker, asked.image_base64, asked.image_url)
    signals = worker.engine.process_frame(image, context=asked.context)
    objects = [_object(item) for item in signals.objects]
    dimension = None if signals.embedding is None else len(signals.embedding)
    height, width = image.shape[:2]
    captions: dict[str, str] = {
        level: getattr(signals, f"caption_{level}") or "" for level in answers.LEVELS
    }
    detail = {
        "frame_idx": 0,
        "timestamp": 0.0,
        "num_objects": len(objects),
        "has_dense": signals.dense_shape is not None,
        "frame_width": width,
        "frame_height": height,
        "objects": objects,
    }
    stats = outputs.LevelStats(
        level1_global=outputs.GlobalStats(frames_processed=1, embedding_dim=dimension),
        level2_objects=outputs.ObjectStats(
            total_objects_detected=len(objects),
            tracks_created=0,
            avg_objects_per_frame=len(objects),
        ),
        level3_dense=outputs.DenseStats(
            frames_with_dense=int(signals.dense_shape is not None), scene_graph_nodes=0
        ),
    )
    return outputs.Image(
        video_id=image_id,
        clip_embedding=signals.embedding,
        temporal_features_shape=None if dimension is None else [1, dimension],
        captions={"summary": captions["normal"], **captions} if asked.generate_caption else None,
        level_stats=stats,
        frame_details=[detail] if asked.include_frame_details else None,
    )


def process_frame(asked: inputs.OneImage, worker: Worker) -> outputs.Frame:
    """The embedding of a frame and the objects in it."""
    image, _ = media.image(worker, asked.image_base64, asked.image_url)
    signals = worker.engine.process_frame(image)
    if signals.embedding is None:
        why = worker.engine.selection.missing.get("image_embedder", "the profile has none")
        raise ModelError(f"no model plays image_embedder: {why}")
    height, width = image.shape[:2]
    return outputs.Frame(
        **_embedding(signals.embedding, worker).model_dump(),
        frame_width=width,
        frame_height=height,
        num_objects=len(signals.objects),
        objects=[_object(item) for item in signals.objects],
    )


def embed_image(asked: inputs.OneImage, worker: Worker) -> outputs.ImageEmbedding:
    """The embedding of an image."""
    image, _ = media.image(worker, asked.image_base64, asked.image_url)
    return _embedding(worker.engine.embed_image(image).tolist(), worker)


def _embedding(vector: list[float], worker: Worker) -> outputs.ImageEmbedding:
    model = worker.engine.selection.models["image_embedder"].id
    return outputs.ImageEmbedding(
        embedding=vector, dim=len(vector), model=model, dinov3_embedding=vector
    )


def embed_text(asked: inputs.EmbedText, worker: Worker) -> outputs.Embedding:
    """The embedding of a text, in the space of texts (not of images)."""
    vector = worker.engine.role("text_embedder").embed_text([asked.text])[0].tolist()
    model = worker.engine.selection.models["text_embedder"].id
    return outputs.Embedding(embedding=vector, dim=len(vector), model=model)


def caption(asked: inputs.Caption, worker: Worker) -> outputs.Captioned:
    """Text for an image."""
    image, _ = media.image(worker, asked.image_base64, asked.image_url)
    told = worker.engine.caption(image, asked.context)
    return outputs.Captioned(caption=told[asked.detail_level], captions=told)


def compare_frames(asked: inputs.CompareFrames, worker: Worker) -> outputs.Comparison:
    """What the second image has more or fewer of, and how like the first it is."""
    images: list[ImageHW3] = [
        media.image(worker, data, None)[0] for data in (asked.frame1_base64, asked.frame2_base64)
    ]
    found = worker.engine.compare_frames(*images)
    return outputs.Comparison(
        description=_difference(found.appeared, found.disappeared, found.similarity),
        similarity=found.similarity,
        appeared=found.appeared,
        disappeared=found.disappeared,
        common=found.common,
    )


def _difference(
    appeared: dict[str, int], disappeared: dict[str, int], similarity: float | None
) -> str:
    changes = [f"{n} more {label}" for label, n in sorted(appeared.items())]
    changes += [f"{n} fewer {label}" for label, n in sorted(disappeared.items())]
    text = f"The second image has {', '.join(changes)}." if changes else "The same objects."
    return text if similarity is None else f"{text} Similarity {similarity:.2f}."


def get_analysis(asked: inputs.GetAnalysis, worker: Worker) -> outputs.Analysis:
    """What is known of a processed video."""
    dataset = _dataset(worker)
    if dataset is None or asked.video_id not in dataset.videos:
        raise NotFoundError(f"no video {asked.video_id}; `list_videos` names those there are")
    return answers.whole(dataset, asked.video_id)


def list_videos(_: inputs.Empty, worker: Worker) -> outputs.Videos:
    """Every processed video, in the order they were added."""
    dataset = _dataset(worker)
    if dataset is None:
        return outputs.Videos(videos=[], count=0)
    columns = ["video_id", "duration_s", "width", "height", "summary"]
    rows = dataset.arrow("videos", columns=columns).to_pylist()
    frames = dataset.arrow("frames", columns=["video_id"])["video_id"].value_counts().to_pylist()
    counts = {row["values"]: row["counts"] for row in frames}
    videos = [{**row, "num_frames": counts.get(row["video_id"], 0)} for row in rows]
    return outputs.Videos(videos=videos, count=len(videos))


def memory_stats(_: inputs.Empty, worker: Worker) -> outputs.MemoryStats:
    """Memory of this process, of the GPU, and of each model on a device."""
    gpu, known = accelerator(), worker.engine.memory_stats()
    return outputs.MemoryStats(
        resident_gb=known.resident_bytes / 2**30,
        available=gpu is not None,
        devices=[asdict(device) for device in known.devices],
        **({} if gpu is None else gpu.memory()),
    )


def _dataset(worker: Worker) -> Dataset | None:
    """The dataset; None before the first video."""
    if not (worker.dataset / MANIFEST).exists():
        return None
    return open_dataset(worker.dataset)


def _object(item: Any) -> outputs.Row:
    return {
        "bbox": [round(side) for side in item.box_xyxy],
        "area": None if item.area_px is None else round(item.area_px),
        "confidence": None if item.confidence is None else round(item.confidence, 2),
        "label": item.label,
    }


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        run: takes the input and what it runs on, and answers; raises StpeError.
        input, output: its models.
        video: takes minutes and writes the dataset, so few run at a time.
    """

    run: Callable[[Any, Worker], BaseModel]
    input: type[inputs.Input]
    output: type[BaseModel]
    video: bool = False

    @property
    def name(self) -> str:
        """As clients call it."""
        return self.run.__name__


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(health, inputs.Empty, outputs.Healthy),
        Operation(process_video, inputs.ProcessVideo, outputs.Video, video=True),
        Operation(
            process_extracted_frames, inputs.ProcessExtractedFrames, outputs.Video, video=True
        ),
        Operation(process_image, inputs.ProcessImage, outputs.Image),
        Operation(process_frame, inputs.OneImage, outputs.Frame),
        Operation(embed_image, inputs.OneImage, outputs.ImageEmbedding),
        Operation(embed_text, inputs.EmbedText, outputs.Embedding),
        Operation(caption, inputs.Caption, outputs.Captioned),
        Operation(compare_frames, inputs.CompareFrames, outputs.Comparison),
        Operation(get_analysis, inputs.GetAnalysis, outputs.Analysis),
        Operation(list_videos, inputs.Empty, outputs.Videos),
        Operation(memory_stats, inputs.Empty, outputs.MemoryStats),
    )
}


def perform(name: str, data: Any, worker: Worker) -> dict[str, Any]:
    """Run an operation on plain data, and answer plain data.

    Raises:
        InvalidInputError: no such operation, or a wrong value; the message names it.
        StpeError: what the operation raises.
    """
    operation = OPERATIONS.get(name) if isinstance(name, str) else None
    if operation is None:
        known = ", ".join(OPERATIONS)
        raise InvalidInputError(f"no operation is called {str(name)[:60]!r}; there are {known}")
    try:
        asked = operation.input.model_validate({} if data is None else data)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "data"
        raise InvalidInputError(f"{where}: {wrong['msg'].removeprefix('Value error, ')}") from None
    return operation.run(asked, worker).model_dump(mode="json")
