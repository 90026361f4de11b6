"""Answers about a video, read from the dataset it was processed into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stpe.dataset.export.analysis import analysis
from stpe.dataset.reader import Dataset
from stpe.serve.jobs.inputs import Granularity, ProcessExtractedFrames, Processing
from stpe.serve.jobs.outputs import (
    Analysis,
    Captions,
    DenseCaptions,
    DenseStats,
    GlobalStats,
    LevelStats,
    ObjectStats,
    Row,
    Video,
)

LEVELS: tuple[Granularity, ...] = ("brief", "normal", "detailed")


def video(dataset: Dataset, video_id: str, asked: Processing, fps: float | None) -> Video:
    """What `process_video` and `process_extracted_frames` answer.

    Args:
        dataset: where the video is sealed.
        video_id: the video.
        asked: which parts to answer.
        fps: rate asked for; None takes the rate that was measured.
    """
    return Video(**_fields(dataset, video_id, asked, fps, analysis(dataset, video_id)))


def whole(dataset: Dataset, video_id: str) -> Analysis:
    """What `get_analysis` answers."""
    document = analysis(dataset, video_id)
    fields = _fields(dataset, video_id, Processing.model_validate({}), None, document)
    return Analysis(**{**document, **fields})


def _fields(
    dataset: Dataset, video_id: str, asked: Processing, fps: float | None, document: Row
) -> dict[str, Any]:
    frames: list[Row] = document["frames"]
    (row,) = dataset.arrow("videos", video_id, ["clip_embedding", "kind"]).to_pylist()
    columns = ["frame_index", "embedding", "dense_shape"]
    signals = dataset.arrow("frames", video_id, columns)
    dense = [shape is not None for shape in signals["dense_shape"].to_pylist()]
    pooled = row["clip_embedding"]
    dimension = None if pooled is None else len(pooled)
    told = asked.generate_captions or asked.dense_captions
    fields: dict[str, Any] = {
        "video_id": video_id,
        "num_frames": len(frames),
        "clip_embedding": pooled,
        "temporal_features_shape": None if dimension is None else [len(frames), dimension],
        "num_tracks": document["stats"]["num_tracks"],
        "captions": _captions(document, asked) if told else None,
        "processing_resolution": asked.processing_resolution and list(asked.processing_resolution),
        "level_stats": LevelStats(
            level1_global=GlobalStats(frames_processed=len(frames), embedding_dim=dimension),
            level2_objects=ObjectStats(
                total_objects_detected=document["stats"]["total_objects_detected"],
                tracks_created=document["stats"]["num_tracks"],
                avg_objects_per_frame=document["stats"]["avg_objects_per_frame"],
            ),
            level3_dense=DenseStats(
                frames_with_dense=sum(dense), scene_graph_nodes=_related(dataset, video_id)
            ),
        ),
        "source_type": "extracted_frames" if row["kind"] == "archive" else "video",
    }
    if asked.dense_captions:
        captions = _dense(document, asked, fps or _rate(frames))
        fields["dense_captions"] = captions
        fields["caption_stats"] = {
            "total_frame_captions": len(captions.frame_captions),
            "caption_interval": asked.caption_interval,
            "granularities": list(_levels(asked)),
            "unique_objects": len(captions.all_objects),
            "key_events": len(captions.key_events),
        }
    if asked.include_frame_embeddings:
        fields["frame_embeddings"] = signals["embedding"].to_pylist()
    with_state = not isinstance(asked, ProcessExtractedFrames) or asked.include_roblox_metadata
    if asked.include_frame_details:
        fields["frame_details"] = [
            _detail(frame, has_dense, with_state)
            for frame, has_dense in zip(frames, dense, strict=True)
        ]
    states = {f["frame_idx"] + 1: f["roblox_metadata"] for f in frames if "roblox_metadata" in f}
    if states and with_state:
        fields["roblox_metadata"] = states
        fields["metadata_stats"] = {
            "frames_with_metadata": len(states),
            "humanoid_states": sorted(
                {str(s["humanoid_state"]) for s in states.values() if s.get("humanoid_state")}
            ),
            "has_inputs": any(s.get("inputs") for s in states.values()),
        }
    return fields


def _detail(frame: Row, has_dense: bool, with_state: bool) -> Row:
    hidden = {"filename"} if with_state else {"filename", "roblox_metadata"}
    kept = {name: value for name, value in frame.items() if name not in hidden}
    return {**kept, "has_dense": has_dense}


def _levels(asked: Processing) -> Sequence[Granularity]:
    wanted = asked.caption_granularities or LEVELS
    return [level for level in LEVELS if level in wanted]


def _captions(document: Row, asked: Processing) -> Captions:
    level = "normal" if "normal" in _levels(asked) else _levels(asked)[0]
    events = [
        {
            "timestamp": frame["timestamp"],
            "frame_idx": frame["frame_idx"],
            "action": frame["caption"][level],
            "active_tracks": len(frame["tracks"]),
        }
        for frame in document["frames"][:: asked.caption_interval]
    ]
    return Captions(
        summary=document["summary"], events=events, tracked_objects=document["tracked_objects"]
    )


def _dense(document: Row, asked: Processing, fps: float) -> DenseCaptions:
    frames = [
        {
            "frame_idx": frame["frame_idx"],
            "timestamp": frame["timestamp"],
            "captions": {level: frame["caption"][level] for level in _levels(asked)},
            "objects": [item["label"] for item in frame["objects"]],
            "quality": {"num_objects": frame["num_objects"]},
        }
        for frame in document["frames"][:: asked.caption_interval]
    ]
    return DenseCaptions(
        video_id=document["video_id"],
        total_frames=len(document["frames"]),
        fps=fps,
        frame_captions=frames,
        summary=document["summary"],
        all_objects=sorted({o["label"] for f in document["frames"] for o in f["objects"]}),
        key_events=document["key_events"],
    )


def _rate(frames: Sequence[Row]) -> float:
    """Analysed frames a second; 1 for a single frame."""
    steps = np.diff([frame["timestamp"] for frame in frames])
    return float(1 / np.median(steps)) if len(steps) else 1.0


def _related(dataset: Dataset, video_id: str) -> int:
    """Tracks that stand in some relation to another object."""
    ends = ["subject_track_id", "object_track_id"]
    related = dataset.arrow("relations", video_id, ends)
    tracks = {track for end in ends for track in related[end].to_pylist()}
    return len(tracks - {None})
