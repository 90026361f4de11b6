"""The plain script: the same models one frame at a time, onnxruntime and OpenCV, one loop.

It does the work that the recorded run did and no more: the same frames, flow pairs, clips, shot
windows and number of prompts, at the same input sizes; masks are brought to the frame's size, and
nothing is measured, tracked or stored. onnxruntime and OpenCV are left at their defaults, which
use every core, so it computes in float32, where STPE takes bfloat16 if the processor has it. The
pose network is a tflite file, which onnxruntime does not read: it stays with
OpenVINO, in its latency mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from numpy.typing import NDArray

from speed.record import Kind
from stpe import Engine
from stpe.models.backends.opencv.dis import Dis
from stpe.models.backends.openvino import vit_focus
from stpe.models.backends.openvino.session import Session
from stpe.models.backends.openvino.transnetv2 import histogram_band
from stpe.models.weights import fetch

ROLES = ("detector", "segmenter", "pose", "depth", "clip_classifier", "shot_detector")
MEAN, STD = vit_focus.MEAN, vit_focus.STD
Run = Callable[..., list[NDArray[Any]]]


def graphs(folder: Path) -> dict[str, Path]:
    """The file of each model of the embedded profile, by the name its session has."""
    found: dict[str, Path] = {}
    original = Session.__init__

    def noted(self: Session, model: Any, **options: Any) -> None:
        original(self, model, **options)
        if isinstance(model, Path):
            found[options["name"]] = model

    Session.__init__ = noted  # type: ignore[method-assign]
    try:
        with Engine("embedded") as engine:
            for role in ROLES:
                engine.role(role)
    finally:
        Session.__init__ = original  # type: ignore[method-assign]
    # The image features are read inside the network: the same cut, as a file.
    whole = onnx.load(str(fetch(engine.selection.models["image_embedder"])["vit_s_focus.onnx"]))
    makers = {node.name: node for node in whole.graph.node}
    names = [
        makers[name].output[0]
        for name in (vit_focus.BLOCK_9, vit_focus.NORM_10, vit_focus.SALIENCY)
    ]
    for axis, dimension in enumerate(whole.graph.input[0].type.tensor_type.shape.dim):
        if axis >= 2:  # it was exported for one size and computes for any
            dimension.dim_param = f"side_{axis}"
    del whole.graph.value_info[:]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found["vit_s_focus"] = folder / "vit.onnx"
    onnx.save(whole, str(found["vit_s_focus"]))
    return found


class Plain:
    """`process(clip)` once; `kinds` are those of the recorded run on that clip."""

    def __init__(self, files: dict[str, Path], kinds: list[Kind], frames: int, fps: float) -> None:
        self._fps, self._motion_fps = fps, fps * math.ceil(10 / fps)
        self._run = {
            name: _latency(path) if path.suffix == ".tflite" else _onnx(path)
            for name, path in files.items()
        }
        self._flow = Dis(1)
        shapes = {k.name: dict(k.shapes) for k in kinds}
        self._size = {name: list(found.values())[-1] for name, found in shapes.items()}
        decoder = [k for k in kinds if k.name == "mobile_sam decoder"]
        self._prompts = sum(k.count * dict(k.shapes)["prompts"][0] for k in decoder) / frames
        self._position = decoder[0].inputs["position"]
        self._counts = {name: sum(k.count for k in kinds if k.name == name) for name in shapes}
        self._small = [k for k in kinds if k.name == "dis"]
        self._frames = frames

    def process(self, clip: Path) -> dict[str, int]:
        """Read the clip and run everything; how often each model ran."""
        self.done = dict.fromkeys(self._counts, 0)
        self.pairs = 0
        capture = cv2.VideoCapture(str(clip))
        rate = capture.get(cv2.CAP_PROP_FPS)
        thumbnails: list[NDArray[Any]] = []
        pictures: list[NDArray[Any]] = []
        previous: NDArray[Any] | None = None
        number = analysed = 0
        while True:
            good, bgr = capture.read()
            if not good:
                break
            time = number / rate
            number += 1
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            thumbnails.append(cv2.resize(rgb, (48, 27), interpolation=cv2.INTER_AREA))
            if len(thumbnails) == 100:
                self._shots(np.stack(thumbnails))
                del thumbnails[:50]
            if _due(time, 12.5, rate):
                pictures.append(cv2.resize(rgb, (320, 180), interpolation=cv2.INTER_AREA))
                if len(pictures) == 32:
                    self._clip(pictures)
                    pictures = []
            if _due(time, self._motion_fps, rate):
                now = cv2.resize(rgb, (480, 270), interpolation=cv2.INTER_AREA)
                if previous is not None:
                    self._pair(previous, now)
                previous = now
            if _due(time, self._fps, rate):
                self._frame(cv2.resize(rgb, (854, 480), interpolation=cv2.INTER_AREA), analysed)
                analysed += 1
        while self.done.get("transnetv2", 0) < self._counts.get("transnetv2", 0) and thumbnails:
            self._shots(np.stack([*thumbnails, *thumbnails[-1:] * (100 - len(thumbnails))]))
        return self.done

    def _shots(self, window: NDArray[Any]) -> None:
        if self.done.get("transnetv2", 0) < self._counts.get("transnetv2", 0):
            self._call("transnetv2", window[None], histogram_band(window)[None])

    def _clip(self, pictures: list[NDArray[Any]]) -> None:
        if self.done.get("i3d", 0) < self._counts.get("i3d", 0):
            square = [cv2.resize(p[:, 70:250], self._size["i3d"][2:4]) for p in pictures]
            self._call("i3d", np.stack(square)[None])

    def _pair(self, earlier: NDArray[Any], later: NDArray[Any]) -> None:
        """The recorded number of flows of each size, spread over the pairs."""
        self.pairs += 1
        for kind in self._small:
            height, width = dict(kind.shapes)["images"][:2]
            images = [
                image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height))
                for image in (earlier, later)
            ]
            share = kind.count / max(1, round(self._frames * self._motion_fps / self._fps) - 1)
            for _ in range(math.floor(self.pairs * share) - math.floor((self.pairs - 1) * share)):
                self._flow.flow(*images)
                self.done["dis"] += 1

    def _frame(self, image: NDArray[Any], number: int) -> None:
        height, width = image.shape[:2]
        block, normed, saliency = self._call(
            "vit_s_focus", _planes(image, self._size["vit_s_focus"])
        )
        _ = normed[0, 0] / np.linalg.norm(normed[0, 0]), block[0, 1:].astype(np.float16), saliency
        size = self._size["yolov4-tiny"]
        self._call("yolov4-tiny", _planes(image, size, mean=0 * MEAN, std=0 * STD + 255))
        embedding = self._call(
            "mobile_sam encoder", _planes(image, self._size["mobile_sam encoder"])
        )[0]
        wanted = math.floor((number + 1) * self._prompts) - math.floor(number * self._prompts)
        rng = np.random.default_rng(number)
        for start in range(0, wanted, 4):
            prompts = rng.normal(size=(min(4, wanted - start), 2, 256)).astype(np.float32)
            masks, _ = self._call("mobile_sam decoder", embedding, self._position, prompts)
            for mask in masks[:, 0]:
                _ = cv2.resize(mask, (width, height)) > 0
        share = self._counts.get("movenet", 0) / self._frames
        if math.floor((number + 1) * share) > math.floor(number * share):
            rows, columns = self._size["movenet"][1:3]
            self._call("movenet", cv2.resize(image, (columns, rows))[None])
        size = self._size["fastdepth"]
        depth = self._call("fastdepth", _planes(image, size, mean=0 * MEAN, std=0 * STD + 255))[0]
        _ = cv2.resize(depth[0, 0], (width, height))

    def _call(self, name: str, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        self.done[name] += 1
        return self._run[name](*inputs)


def _due(time: float, fps: float, rate: float) -> bool:
    """Whether this is the frame nearest to a point of the grid."""
    nearest = round(time * fps) / fps
    return -0.5 / rate < time - nearest <= 0.5 / rate


def _planes(image: Any, size: Any, mean: Any = MEAN, std: Any = STD) -> NDArray[Any]:
    small = cv2.resize(image, (size[3], size[2]), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(((small - mean) / std).transpose(2, 0, 1)[None], np.float32)


def _onnx(path: Path) -> Run:
    quiet = ort.SessionOptions()
    quiet.log_severity_level = 3
    session = ort.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def _latency(path: Path) -> Run:
    core, models = ov.Core(), {}

    def run(*inputs: NDArray[Any]) -> list[NDArray[Any]]:
        shape = inputs[0].shape
        if shape not in models:
            model = core.read_model(str(path))
            model.reshape(list(shape))
            models[shape] = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        return list(models[shape](inputs).values())

    return run
