"""The vocabulary: every table, column, unit, coordinate frame and meaning of null.

Nothing is stored that is not named here. A signal is written `table.column`. Stages declare which
signals they read and write; the dataset builds its Arrow schemas from the same list.

Conventions: pixels are pixels of the *stored frame size* (`videos.width` x `videos.height`, after
rotation metadata is applied), x right and y down, boxes xyxy; times are seconds on the container's
presentation clock; angles are degrees in the OpenCV camera frame (x right, y down, z forward).
Masks are COCO compressed RLE at the stored frame size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from stpe.errors import UsageError

RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
LABEL = pa.struct([("label", pa.string()), ("confidence", pa.float32())])
MODEL = pa.struct(
    [(name, pa.string()) for name in ("role", "model", "sha256", "licence", "precision")]
)
AXIS = pa.struct([("name", pa.string()), ("value", pa.float32())])
F32S = pa.list_(pa.float32())
F16S = pa.list_(pa.float16())
I32S = pa.list_(pa.int32())
NAMES = pa.list_(pa.string())

#: Columns that identify a row of each table within one video, in sort order.
KEYS: dict[str, tuple[str, ...]] = {
    "videos": (),
    "transitions": ("frame_index",),
    "shots": ("shot_id",),
    "frames": ("frame_index",),
    "motion": ("frame_index",),
    "states": ("row_index",),
    "objects": ("frame_index", "object_id"),
    "tracks": ("track_id",),
    "relations": ("frame_index", "subject_object_id", "object_object_id", "relation"),
    "events": ("event_id",),
    "clips": ("clip_id",),
    "artifacts": ("stage", "chunk"),
}


@dataclass(frozen=True)
class Signal:
    """One column of one table.

    `key` marks the identifying columns, which every stage that adds rows to a table supplies.
    `null` says what a null means; an empty string means the column is never null.
    """

    table: str
    column: str
    type: pa.DataType
    unit: str
    doc: str
    null: str = ""
    key: bool = False

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.table}.{self.column}"

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with unit, description and null meaning in its metadata."""
        metadata = {"unit": self.unit, "doc": self.doc, "null": self.null}
        return pa.field(self.column, self.type, nullable=True, metadata=metadata)


def _s(
    name: str, type_: pa.DataType, unit: str, doc: str, null: str = "", key: bool = False
) -> Signal:
    table, column = name.split(".")
    return Signal(table, column, type_, unit, doc, null, key)


_ABSENT = "the stage that writes it did not run; `artifacts` says why"
_NO_DEPTH = "no depth model ran, or --camera has no depth image of the frame"
_NO_CAMERA = "no flow inside the mask, camera unknown, or fixed to the screen"
_NO_MOTION = "attached to the camera, or its motion was never measured"
_NO_VLM = "no captioner was selected, or it gave no answer"

_WRITTEN: tuple[Signal, ...] = (
    # videos -------------------------------------------------------------------------------
    _s("videos.uri", pa.string(), "", "Source as it was given"),
    _s("videos.sha256", pa.string(), "", "Content hash of the source; names the file in media/"),
    _s("videos.kind", pa.string(), "", "file, folder, archive, or simulator"),
    _s("videos.codec", pa.string(), "", "Video codec name", "not an encoded video"),
    _s("videos.width", pa.int32(), "px", "Stored frame width, rotation applied"),
    _s("videos.height", pa.int32(), "px", "Stored frame height, rotation applied"),
    _s("videos.fps", pa.float64(), "1/s", "Average rate measured from pts, not the header's"),
    _s("videos.start_pts", pa.float64(), "s", "pts of the first decoded frame"),
    _s(
        "videos.unix_start_s",
        pa.float64(),
        "s",
        "Unix time of the first frame, by the times of images or of records beside them",
        "the source has no wall clock",
    ),
    _s("videos.duration_s", pa.float64(), "s", "From the first pts to the end of the last frame"),
    _s("videos.frame_count", pa.int64(), "", "Frames the decoder yielded"),
    _s("videos.warnings", pa.list_(pa.string()), "", "What was wrong with the source, if anything"),
    _s(
        "videos.alignment",
        pa.string(),
        "JSON",
        "Certificate of the state log; its verdict is aligned, unverified (nothing in the video "
        "can tell whether the log is its own) or unaligned",
        "no log was given",
    ),
    _s(
        "videos.state_sha256",
        pa.string(),
        "",
        "Content hash of the state log as it was given (of a folder, a ZIP of it); names the file "
        "in media/",
        "no log was given",
    ),
    _s("videos.keys", NAMES, "", "Names of the keys and buttons in `states`, sorted", "no log"),
    _s("videos.axes", NAMES, "", "Names of the analogue axes in `states`, sorted", "no log"),
    _s(
        "videos.camera_check",
        pa.string(),
        "JSON",
        "Whether measured flow agrees with --camera: verdict, warnings, and the numbers behind",
        "nothing was given",
    ),
    _s("videos.summary", pa.string(), "", "Narrated summary of the video", _ABSENT),
    _s("videos.clip_embedding", F32S, "1", "Attention-pooled frame embedding, unit L2", _ABSENT),
    # transitions (rows are all decoded frames) --------------------------------------------
    _s("transitions.frame_index", pa.int64(), "", "Decoder frame index", key=True),
    _s("transitions.pts", pa.float64(), "s", "Presentation time", key=True),
    _s("transitions.cut", pa.float32(), "1", "Probability that a new shot begins at this frame"),
    _s(
        "transitions.gradual",
        pa.float32(),
        "1",
        "Probability that this frame is inside a gradual transition",
    ),
    _s(
        "transitions.view_shift",
        F32S,
        "1",
        "Median optical flow [u right, v down] since the previous decoded frame, as a share of the "
        "frame's longer side; measured where there is a state log to match",
        "first frame, blank pictures, or no state log",
    ),
    _s(
        "transitions.view_growth",
        pa.float32(),
        "1",
        "Median share by which the picture grew about its middle since the previous decoded frame; "
        "measured where there is a state log to match",
        "first frame, blank pictures, or no state log",
    ),
    # shots --------------------------------------------------------------------------------
    _s("shots.shot_id", pa.int32(), "", "Zero-based, in time order", key=True),
    _s("shots.start_frame", pa.int64(), "", "First decoder frame index"),
    _s("shots.end_frame", pa.int64(), "", "Decoder frame index after the last (exclusive)"),
    _s("shots.start_pts", pa.float64(), "s", "pts of start_frame"),
    _s("shots.end_pts", pa.float64(), "s", "pts of end_frame, or the end of the video"),
    _s("shots.transition", pa.string(), "", "How the shot begins: start, cut, gradual"),
    _s("shots.confidence", pa.float32(), "1", "Probability of that transition; 1 for start"),
    _s("shots.caption_brief", pa.string(), "", "Narrated caption of the shot", _ABSENT),
    _s("shots.caption_normal", pa.string(), "", "Narrated caption of the shot", _ABSENT),
    _s("shots.caption_detailed", pa.string(), "", "Narrated caption of the shot", _ABSENT),
    # frames (rows are the frames of the analysis grid) ------------------------------------
    _s("frames.frame_index", pa.int64(), "", "Decoder frame index, zero-based", key=True),
    _s("frames.pts", pa.float64(), "s", "Presentation time", key=True),
    _s("frames.shot_id", pa.int32(), "", "Shot this frame belongs to", _ABSENT),
    _s("frames.embedding", F32S, "1", "Global self-supervised embedding, unit L2", _ABSENT),
    _s("frames.dense", F16S, "1", "Patch features, row-major h x w x c", _ABSENT),
    _s("frames.dense_shape", I32S, "", "[h, w, c] of frames.dense", _ABSENT),
    _s(
        "frames.saliency",
        F16S,
        "1",
        "Saliency 0..1 on the dense grid, row-major",
        "the image embedder gives none, or did not run",
    ),
    _s("frames.saliency_shape", I32S, "", "[h, w] of frames.saliency", "as above"),
    _s("frames.edges", F16S, "1", "Feature-edge strength 0..1 on the dense grid", _ABSENT),
    _s("frames.depth", F16S, "see depth_unit", "Depth map, row-major; NaN: none", _NO_DEPTH),
    _s("frames.depth_shape", I32S, "", "[h, w] of frames.depth", "as above"),
    _s(
        "frames.depth_unit",
        pa.string(),
        "",
        "metres, relative (larger is farther), or that of --camera",
        "as above",
    ),
    _s(
        "frames.depth_confidence",
        pa.float32(),
        "1",
        "Trust in the depth map as a whole",
        "as above",
    ),
    _s(
        "frames.camera_motion",
        pa.string(),
        "",
        "static, pan_left, pan_right, tilt_up, tilt_down, "
        "roll_cw, roll_ccw, zoom_in, zoom_out, translate, mixed, or cut, since the previous row",
        "first frame, or motion not measurable",
    ),
    _s(
        "frames.camera_rotation_deg",
        F32S,
        "deg",
        "Rotation vector of the camera since the "
        "previous row, expressed in the previous camera frame",
        "first frame of a shot, or unknown",
    ),
    _s(
        "frames.camera_translation",
        F32S,
        "1",
        "Unit direction of camera translation since the previous row, in the previous camera frame",
        "rotation only, or unknown",
    ),
    _s(
        "frames.camera_homography",
        F32S,
        "",
        "3x3 row-major map of pixels of the previous row's frame to this frame",
        "first frame of a shot, or unknown",
    ),
    _s(
        "frames.camera_confidence",
        pa.float32(),
        "1",
        "Inlier share of the camera model times known share of the frame",
        "first frame of a shot, or unknown",
    ),
    _s(
        "frames.geometric_depth",
        F16S,
        "see geometric_unit",
        "Depth along the optical axis of each cell of the flow grid, row-major, triangulated from "
        "flow and camera motion; in the unit of frames.trajectory_id: times geometric_scale it is "
        "in geometric_unit. NaN where not known, as for what moves",
        "nothing triangulated, as at the first frame of a trajectory",
    ),
    _s("frames.geometric_depth_shape", I32S, "", "[h, w] of frames.geometric_depth", "as above"),
    _s(
        "frames.geometric_depth_confidence",
        F16S,
        "1",
        "Probability, a cell, that the depth is off by less than a quarter",
        "as above",
    ),
    _s(
        "frames.geometric_scale",
        pa.float32(),
        "see geometric_unit",
        "Length of one trajectory unit, from the path of the camera in the state log; 1 with poses",
        "no aligned log with a path, or the camera hardly moved",
    ),
    _s(
        "frames.geometric_unit",
        pa.string(),
        "",
        "Unit of geometric_scale and camera_to_world: the log's or that of --camera; relative "
        "without either",
        _ABSENT,
    ),
    _s(
        "frames.camera_travel",
        F32S,
        "trajectory unit",
        "Displacement of the camera since the previous row, in the previous camera frame",
        "first frame of a trajectory",
    ),
    _s(
        "frames.trajectory_id",
        pa.int32(),
        "",
        "Stretch of frames with one unit and one origin; a new one begins at each cut and "
        "wherever camera motion was not measurable",
        _ABSENT,
    ),
    _s(
        "frames.camera_to_world",
        F32S,
        "see geometric_unit",
        "4x4 row-major pose; the world is the camera of the trajectory's first frame, or that of "
        "the poses of --camera",
        "rotation or travel unknown",
    ),
    _s("frames.caption_brief", pa.string(), "", "Narrated from the signals", _ABSENT),
    _s("frames.caption_normal", pa.string(), "", "Narrated from the signals", _ABSENT),
    _s("frames.caption_detailed", pa.string(), "", "Narrated from the signals", _ABSENT),
    _s(
        "frames.caption_evidence",
        pa.string(),
        "JSON",
        "For each clause, the rows it came from",
        _ABSENT,
    ),
    _s(
        "frames.caption_facts",
        pa.string(),
        "JSON",
        "What the clauses state, without words: kind, subject, value, unit, row, clause",
        _ABSENT,
    ),
    _s("frames.vlm_brief", pa.string(), "", "The captioner's own words", _NO_VLM),
    _s("frames.vlm_normal", pa.string(), "", "The captioner's own words", _NO_VLM),
    _s("frames.vlm_detailed", pa.string(), "", "The captioner's own words", _NO_VLM),
    _s(
        "frames.vlm_contradictions",
        pa.string(),
        "JSON",
        "The captioner's sentences that facts contradict: kind, sentence, fact, row; [] for none",
        _NO_VLM,
    ),
    _s(
        "frames.state", pa.string(), "JSON", "Game state matched to this frame", "no log, unaligned"
    ),
    _s(
        "frames.alignment",
        pa.string(),
        "",
        "How state was matched: clock, frame or estimated, and confirmed by what the video shows; "
        "package: it lay with the frame; unverified: as the log claims, confirmed by nothing in "
        "the video; unaligned",
        "no log was given",
    ),
    _s(
        "frames.state_changes",
        pa.string(),
        "JSON",
        "What changed in the state log since the previous row with a state (in the last such row, "
        "after it as well): pts, text, and the numbers",
        "no log, unaligned",
    ),
    # motion (rows are intervals of the motion grid) ---------------------------------------
    _s("motion.frame_index", pa.int64(), "", "Later frame of the interval", key=True),
    _s("motion.pts", pa.float64(), "s", "pts of the later frame", key=True),
    _s("motion.previous_frame_index", pa.int64(), "", "Earlier frame of the interval"),
    _s("motion.interval_s", pa.float64(), "s", "pts difference"),
    _s(
        "motion.flow",
        F16S,
        "px",
        "Flow from the earlier to the later frame in stored-frame "
        "pixels, row-major h x w x 2 (u right, v down), sampled at cell centres",
        _ABSENT,
    ),
    _s("motion.flow_shape", I32S, "", "[h, w, 2] of motion.flow", _ABSENT),
    _s(
        "motion.flow_confidence",
        F16S,
        "1",
        "0..1 a cell, from forward-backward agreement and texture",
        _ABSENT,
    ),
    _s("motion.camera_homography", F32S, "", "3x3 row-major, earlier frame to later", "unknown"),
    _s(
        "motion.camera_rotation_deg",
        F32S,
        "deg",
        "Rotation vector of the camera over the interval",
        "unknown",
    ),
    _s("motion.camera_translation", F32S, "1", "Unit direction over the interval", "unknown"),
    _s(
        "motion.camera_confidence",
        pa.float32(),
        "1",
        "Inlier share of the camera model times known share of the frame",
        "unknown",
    ),
    _s(
        "motion.pose_agreement",
        pa.float32(),
        "1",
        "Share of flow that follows the poses of --camera over the share that follows the motion "
        "fitted without them",
        "no poses were given, nothing moved, or nothing could be fitted",
    ),
    _s(
        "motion.focal_costs",
        F32S,
        "1",
        "Robust residual of flow for 0.6, 1 and 1.67 of the given focal length, lower is better",
        "no intrinsics were given, or not an interval that is asked",
    ),
    # states (rows are those of the state log) ---------------------------------------------
    _s("states.row_index", pa.int64(), "", "Zero-based, in time order", key=True),
    _s(
        "states.log_time",
        pa.string(),
        "see log_unit",
        "Time of the row as the log has it; dates as Unix seconds",
        "the log has frame numbers and no times",
    ),
    _s(
        "states.log_unit",
        pa.string(),
        "",
        "Unit of log_time, where the log names one",
        "none is named: videos.alignment says under `repairs` how it was told",
    ),
    _s(
        "states.pts",
        pa.float64(),
        "s",
        "Time of the row on the video's clock, also before its first and after its last frame",
        "unaligned",
    ),
    _s(
        "states.frame_index",
        pa.int64(),
        "",
        "Decoded frame that is shown at that time; up to a second before the first frame it is "
        "the first, up to a second after the last the last",
        "unaligned, or outside the video",
    ),
    _s("states.alignment", pa.string(), "", "As frames.alignment, of this row"),
    _s("states.state", pa.string(), "JSON", "The row; bytes left out, NaN and infinity null"),
    _s(
        "states.keys_held",
        NAMES,
        "",
        "Keys and buttons that are down after the row, by name: W3C UI Events codes with letters "
        "and digits bare, MouseLeft, GamepadA; else the log's own name",
        "the log says nothing of keys",
    ),
    _s(
        "states.keys_pressed",
        NAMES,
        "",
        "Keys and buttons that this row presses, in order; of a log that lists what is held, the "
        "difference to the row before",
    ),
    _s("states.keys_released", NAMES, "", "Keys and buttons that this row releases, likewise"),
    _s("states.pointer", F32S, "px", "Place of the pointer [x, y], as the log counts", "not said"),
    _s(
        "states.pointer_move",
        F32S,
        "px",
        "Movement of the pointer or mouse [x, y] since the row before; of a log with places only, "
        "their difference",
        "not said",
    ),
    _s("states.wheel", F32S, "1", "Turn of the wheel [x, y] as the log counts", "not said"),
    _s("states.axes", pa.list_(AXIS), "1", "Analogue axes, and a robot's action", "not said"),
    _s(
        "states.camera_turn_deg",
        F32S,
        "deg",
        "Change of the log's own camera angles [yaw, pitch] since the row before; signs are the "
        "log's",
        "the log has no camera angle, or not in both rows",
    ),
    # objects ------------------------------------------------------------------------------
    _s("objects.frame_index", pa.int64(), "", "Decoder frame index", key=True),
    _s("objects.object_id", pa.int32(), "", "Number of the instance within the frame", key=True),
    _s("objects.pts", pa.float64(), "s", "Presentation time"),
    _s("objects.label", pa.string(), "", "Class name; `object` for a class-agnostic instance"),
    _s("objects.confidence", pa.float32(), "1", "Probability that the instance is what it says"),
    _s("objects.origin", pa.string(), "", "detector, automatic, or concept"),
    _s("objects.box_xyxy", F32S, "px", "x0, y0, x1, y1"),
    _s("objects.mask_rle", RLE, "", "COCO compressed RLE, size [h, w]", "no segmenter"),
    _s("objects.mask_confidence", pa.float32(), "1", "Segmenter's predicted IoU", "no segmenter"),
    _s("objects.area_px", pa.float32(), "px^2", "Mask area, or box area without a mask"),
    _s("objects.embedding", F32S, "1", "Dense features pooled inside the mask, unit L2", _ABSENT),
    _s(
        "objects.colors",
        F32S,
        "1",
        "L*a*b* histograms of three bands, top to bottom, 72 roots of shares, unit L2",
        "fewer than 4 rows or 2 columns of pixels, or a band without a pixel of the object",
    ),
    _s(
        "objects.tracklet_id",
        pa.int64(),
        "",
        "Association as it was made frame by frame, before the whole video was judged",
        "not associated",
    ),
    _s("objects.tracklet_confidence", pa.float32(), "1", "Similarity of that step", "as above"),
    _s(
        "objects.track_id",
        pa.int64(),
        "",
        "Identity over the whole video, never reused",
        "not tracked",
    ),
    _s(
        "objects.track_confidence",
        pa.float32(),
        "1",
        "Trust in the association",
        "not tracked, or given to the track only when the whole video was judged",
    ),
    _s("objects.velocity_px_s", F32S, "px/s", "Image velocity [vx, vy]", "no flow inside the mask"),
    _s(
        "objects.velocity_std_px_s",
        pa.float32(),
        "px/s",
        "Standard deviation of that velocity",
        "no flow inside the mask",
    ),
    _s(
        "objects.camera_velocity_px_s",
        F32S,
        "px/s",
        "What camera motion alone would give here",
        _NO_CAMERA,
    ),
    _s(
        "objects.object_velocity_px_s",
        F32S,
        "px/s",
        "velocity_px_s minus camera_velocity_px_s",
        "as above",
    ),
    _s("objects.motion", pa.string(), "", "moving, static, or unknown", _ABSENT),
    _s(
        "objects.motion_confidence",
        pa.float32(),
        "1",
        "Probability of that motion class",
        _NO_CAMERA,
    ),
    _s(
        "objects.depth",
        pa.float32(),
        "see frames.depth_unit",
        "Median depth inside the mask",
        "its frame has no depth, or none is known there",
    ),
    _s("objects.depth_confidence", pa.float32(), "1", "Trust in that depth", "as above"),
    _s(
        "objects.velocity_metric",
        F32S,
        "see velocity_metric_unit",
        "Velocity in the world along the camera's x and y axes, from object_velocity_px_s, depth "
        "and focal length",
        "camera unknown, or no depth with a unit",
    ),
    _s(
        "objects.velocity_metric_std",
        pa.float32(),
        "see velocity_metric_unit",
        "Standard deviation of it, an axis: of flow, depth and an assumed focal length",
        "as above",
    ),
    _s(
        "objects.velocity_metric_unit",
        pa.string(),
        "",
        "metres/s, or the unit of the state log or of --camera a second",
        "as above",
    ),
    _s("objects.keypoints", F32S, "px, px, 1", "17 COCO joints x (x, y, score)", "no person pose"),
    _s("objects.keypoints_confidence", pa.float32(), "1", "Mean joint score", "no person pose"),
    # tracks -------------------------------------------------------------------------------
    _s("tracks.track_id", pa.int64(), "", "Identity", key=True),
    _s("tracks.label", pa.string(), "", "Class name its observations support; else `object`"),
    _s("tracks.confidence", pa.float32(), "1", "Trust in label and continuity"),
    _s("tracks.first_pts", pa.float64(), "s", "pts of the first observation"),
    _s("tracks.last_pts", pa.float64(), "s", "pts of the last observation"),
    _s("tracks.first_frame", pa.int64(), "", "Frame of the first observation"),
    _s("tracks.last_frame", pa.int64(), "", "Frame of the last observation"),
    _s("tracks.n_frames", pa.int32(), "", "Observations"),
    _s("tracks.embedding", F32S, "1", "Confidence-weighted mean object embedding", _ABSENT),
    _s("tracks.motion_summary", pa.string(), "", "static, slow, moderate, fast", _NO_MOTION),
    _s(
        "tracks.direction",
        pa.string(),
        "",
        "Main image direction, camera-compensated",
        f"static, {_NO_MOTION}",
    ),
    _s("tracks.mean_speed_px_s", pa.float32(), "px/s", "Mean camera-compensated speed", _NO_MOTION),
    _s(
        "tracks.moving_share",
        pa.float32(),
        "1",
        "Share of observations that are moving",
        _NO_MOTION,
    ),
    # relations ----------------------------------------------------------------------------
    _s("relations.frame_index", pa.int64(), "", "Decoder frame index", key=True),
    _s("relations.subject_object_id", pa.int32(), "", "objects.object_id", key=True),
    _s("relations.object_object_id", pa.int32(), "", "objects.object_id", key=True),
    _s(
        "relations.relation",
        pa.string(),
        "",
        "left_of, above, in_front_of, inside, overlapping, near, approaching, following",
        key=True,
    ),
    _s("relations.pts", pa.float64(), "s", "Presentation time"),
    _s("relations.subject_track_id", pa.int64(), "", "Identity of the subject", "not tracked"),
    _s("relations.object_track_id", pa.int64(), "", "Identity of the object", "not tracked"),
    _s("relations.confidence", pa.float32(), "1", "How clearly the evidence holds"),
    _s("relations.evidence", pa.string(), "JSON", "The measured numbers behind the relation"),
    # events -------------------------------------------------------------------------------
    _s("events.event_id", pa.int32(), "", "In time order", key=True),
    _s("events.pts", pa.float64(), "s", "When it begins"),
    _s("events.end_pts", pa.float64(), "s", "When it ends", "instantaneous"),
    _s("events.frame_index", pa.int64(), "", "Analysis frame where it is first seen"),
    _s(
        "events.kind",
        pa.string(),
        "",
        "appears, disappears, starts, stops, accelerates, collides, "
        "state_transition, cut, gradual_transition, camera_starts, camera_stops",
    ),
    _s("events.track_ids", pa.list_(pa.int64()), "", "Who takes part"),
    _s("events.description", pa.string(), "", "One sentence"),
    _s("events.confidence", pa.float32(), "1", "How clearly the evidence holds"),
    _s("events.evidence", pa.string(), "JSON", "The measured numbers behind the event"),
    # clips --------------------------------------------------------------------------------
    _s("clips.clip_id", pa.int32(), "", "Decoder frame index of its first frame", key=True),
    _s("clips.start_pts", pa.float64(), "s", "pts of the first frame"),
    _s("clips.end_pts", pa.float64(), "s", "pts after the last frame"),
    _s("clips.embedding", F32S, "1", "Clip encoder's embedding, unit L2", _ABSENT),
    _s(
        "clips.pooled_embedding",
        F32S,
        "1",
        "Attention-pooled frame embeddings, unit L2",
        "no analysis frame with an embedding lies inside",
    ),
    _s(
        "clips.classes",
        pa.list_(LABEL),
        "1",
        "Best classes, most probable first, of what the model knows: it may be none of them",
        _ABSENT,
    ),
    _s(
        "clips.class_confidence",
        pa.float32(),
        "1",
        "Probability that the clip shows its best class at all, measured on footage that shows "
        "none of the model's classes as well",
        "that was not measured for the model; captions then tell no action",
    ),
    _s(
        "clips.surprise",
        pa.float32(),
        "1",
        "Mean error of the clip model's prediction of the second half from the first",
        "the model does not predict",
    ),
    # artifacts (rows are the outputs of stages, a chunk each; and the stages that are absent) --
    _s("artifacts.stage", pa.string(), "", "Stage name", key=True),
    _s("artifacts.chunk", pa.int32(), "", "Chunk number", "whole video, or absent", key=True),
    _s("artifacts.version", pa.string(), "", "Stage version"),
    _s("artifacts.key", pa.string(), "", "Content key; names the file in artifacts/", "absent"),
    _s("artifacts.models", pa.list_(MODEL), "", "Models it ran, with weights hash and licence"),
    _s("artifacts.seconds", pa.float64(), "s", "Time spent inside the stage", "absent"),
    _s("artifacts.rows", pa.int64(), "", "Rows made, all tables together", "absent"),
    _s(
        "artifacts.reason",
        pa.string(),
        "",
        "Why the stage is absent, or what it did otherwise than it was asked",
        "it ran as asked",
    ),
)

#: Confidences that are stored calibrated (`stpe.calibration`), with the raw one beside them.
CALIBRATED = (
    "objects.confidence",
    "objects.track_confidence",
    "objects.motion_confidence",
    "objects.mask_confidence",
    "motion.camera_confidence",
    "motion.flow_confidence",
    "frames.camera_confidence",
    "frames.depth_confidence",
    "frames.geometric_depth_confidence",
)
RAW = "_raw"


def _with_raw(written: Signal) -> tuple[Signal, ...]:
    if written.name not in CALIBRATED:
        return (written,)
    doc = f"{written.column} as the stage made it, before calibration"
    return written, Signal(
        written.table, written.column + RAW, written.type, written.unit, doc, written.null
    )


#: Text told from nearly all other signals, so that whoever wants it names it: a table's name alone
#: stands for the rest of the table.
TOLD: frozenset[str] = frozenset(
    s.name for s in _WRITTEN if s.column.startswith(("caption_", "vlm_")) or s.column == "summary"
)

SIGNALS: tuple[Signal, ...] = tuple(s for written in _WRITTEN for s in _with_raw(written))
_BY_NAME = {s.name: s for s in SIGNALS}
TABLES: tuple[str, ...] = tuple(KEYS)


def signal(name: str) -> Signal:
    """The signal called `name` (`table.column`). Raises UsageError with near matches."""
    import difflib

    try:
        return _BY_NAME[name]
    except KeyError:
        near = difflib.get_close_matches(name, _BY_NAME, 3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `stpe plan --help` lists them"
        raise UsageError(f"no signal is called {name!r}{hint}") from None


def written(name: str) -> str:
    """The signal that a raw confidence comes with; any other name unchanged.

    >>> written("objects.motion_confidence_raw")
    'objects.motion_confidence'
    """
    base = name.removesuffix(RAW)
    return base if base in CALIBRATED else name


def expand(names: Iterable[str]) -> frozenset[str]:
    """Signal names from `table.column` names and bare table names.

    >>> sorted(expand(["shots"]))[:2]
    ['shots.caption_brief', 'shots.caption_detailed']
    """
    found: set[str] = set()
    for name in names:
        if name in KEYS:
            found |= {s.name for s in SIGNALS if s.table == name and not s.key}
        else:
            found.add(signal(name).name)
    return frozenset(found)


def requested(names: Iterable[str]) -> frozenset[str]:
    """Signals that a user who names signals and tables wants made: those of a table without what is
    told from nearly all others, unless that is named itself.

    >>> sorted(requested(["shots"]))[0], len(requested(["shots", "shots.caption_brief"]))
    ('shots.confidence', 7)
    """
    names = list(names)
    return frozenset(expand(names) - (TOLD - {signal(n).name for n in names if n not in KEYS}))


def key_fields(table: str) -> list[pa.Field]:
    """Arrow fields that every output for `table` carries (keys first, as in SIGNALS)."""
    return [s.field for s in SIGNALS if s.table == table and s.key]


def schema(table: str, columns: Iterable[str] | None = None) -> pa.Schema:
    """Arrow schema of a stage's output for `table`: key fields, then the named columns.

    `columns=None` gives every column. Columns keep the vocabulary's order. `video_id` is not in
    it: the dataset adds that.
    """
    wanted = None if columns is None else set(columns)
    if wanted is not None:
        for column in wanted:
            signal(f"{table}.{column}")
    return pa.schema(
        [
            s.field
            for s in SIGNALS
            if s.table == table and (s.key or wanted is None or s.column in wanted)
        ]
    )
