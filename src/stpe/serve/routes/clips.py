"""The clip classification API: sixteen frames in, the five best classes out."""

from __future__ import annotations

import time
import uuid
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.roles import ClipClassifier
from stpe.serve import problems
from stpe.serve.clip import BEST, FRAMES, Classified, Clip, Prediction
from stpe.serve.failures import InvalidInputError, UnsupportedMediaError
from stpe.serve.payload import decode_base64, decode_image, estimated_bytes, family
from stpe.serve.services import Feature, Services, services
from stpe.video.limits import Limits

router = APIRouter(prefix="/api/v1", tags=["clip classification"])
Shared = Annotated[Services, Depends(services)]


@router.post("/infer", responses=problems.responses(413, 415, 422, 429, 503))
async def classify(clip: Clip, shared: Shared) -> Classified:
    """Classify a clip of 16 frames.

    A frame of exactly width x height x 3 bytes is raw; otherwise it is a JPEG or PNG, whose own
    colours hold whatever `format` says and whose size must be width x height.
    """
    begun = time.perf_counter()
    try:
        model: ClipClassifier = await shared.roles.get("clip_classifier")
    except ModelError as error:
        raise ModelError(
            f"{error}; set STPE_SERVE_MODELS=clip_classifier=ID to one of `stpe models list`"
        ) from None
    with shared.admission.memory(FRAMES * clip.width * clip.height * 12):
        with shared.metrics.stage("clip-classification", "decode"):
            frames = await shared.work.short(_frames, clip, shared.limits)
        if not model.labels:
            raise ModelError("the clip classifier's weights hold no classes; choose another model")
        with shared.metrics.stage("clip-classification", "infer"):
            result = await shared.work.short(model.classify, frames, BEST)
    seconds = time.perf_counter() - begun
    return Classified(
        predictions=[Prediction(label=name, confidence=p) for name, p in result.classes],
        clip_id=uuid.uuid4().hex,
        model=shared.roles.model_id("clip_classifier") or "",
        processing_time_ms=1000 * seconds,
    )


def _frames(clip: Clip, limits: Limits) -> NDArray[np.uint8]:
    limits.check_frame(clip.width, clip.height)
    frames = np.empty((FRAMES, clip.height, clip.width, 3), np.uint8)
    for number, text in enumerate(clip.frames):
        frames[number] = _frame(decode_base64(text, f"frames[{number}]"), number, clip, limits)
    return frames


def _frame(data: bytes, number: int, clip: Clip, limits: Limits) -> NDArray[np.uint8]:
    shape = (clip.height, clip.width, 3)
    if len(data) == clip.width * clip.height * 3:
        pixels = np.frombuffer(data, np.uint8).reshape(shape)
        return pixels[:, :, ::-1] if clip.format == "BGR" else pixels
    if family(data) not in ("jpeg", "png"):
        raise UnsupportedMediaError(
            f"frames[{number}] is neither {clip.width * clip.height * 3} raw bytes "
            f"({clip.width}x{clip.height}x3) nor a JPEG or PNG"
        )
    estimated_bytes(data, limits)
    image = decode_image(data, limits)
    if image.shape != shape:
        raise InvalidInputError(
            f"frames[{number}] is {image.shape[1]}x{image.shape[0]}, "
            f"not {clip.width}x{clip.height} as the clip says"
        )
    return image


FEATURE = Feature(router)
