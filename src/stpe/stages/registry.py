"""Every stage, in no particular order: the plan sorts them by what they read and write."""

from __future__ import annotations

from stpe.stages.camera import Camera
from stpe.stages.camera_check import CameraCheck
from stpe.stages.captions import Captions
from stpe.stages.clips import Clips
from stpe.stages.depth import Depth, ObjectDepth
from stpe.stages.events import Events
from stpe.stages.features import Features
from stpe.stages.flow import Flow
from stpe.stages.frame_camera import FrameCamera
from stpe.stages.geometric_depth import GeometricDepth
from stpe.stages.metric_velocity import MetricVelocity
from stpe.stages.object_motion import ObjectMotion
from stpe.stages.objects import Objects
from stpe.stages.pooling import ClipPooling, VideoPooling
from stpe.stages.pose import Pose
from stpe.stages.relations import Relations
from stpe.stages.shots import Shots
from stpe.stages.stage import Stage
from stpe.stages.state_log import StateLogStage
from stpe.stages.tracklets import Tracklets
from stpe.stages.tracks import Tracks
from stpe.stages.trajectory import Trajectory
from stpe.stages.transitions import Transitions
from stpe.stages.view_shift import ViewShift
from stpe.stages.vlm_captions import VlmCaptions

STAGES: tuple[type[Stage], ...] = (
    Camera,
    CameraCheck,
    Captions,
    ClipPooling,
    Clips,
    Depth,
    Events,
    Features,
    Flow,
    FrameCamera,
    GeometricDepth,
    MetricVelocity,
    ObjectDepth,
    ObjectMotion,
    Objects,
    Pose,
    Relations,
    Shots,
    StateLogStage,
    Tracklets,
    Tracks,
    Trajectory,
    Transitions,
    VideoPooling,
    ViewShift,
    VlmCaptions,
)
