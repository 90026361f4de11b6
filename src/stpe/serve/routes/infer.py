"""The tasks API: one image or video in, what a task says of it out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request

from stpe.serve import problems
from stpe.serve.services import Feature, Services, services
from stpe.serve.tasks import concepts, images, velocity
from stpe.serve.tasks.context import Context
from stpe.serve.tasks.schemas import InferAnswer, InferRequest

_RUN: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "object-detection": images.detect,
    "image-segmentation": images.segment,
    "pose-estimation": images.pose,
    "sam3-concept-segmentation": concepts.concepts,
    "depth-estimation": images.depth,
    "velocity-estimation": velocity.velocity,
}

router = APIRouter(tags=["tasks"])
Shared = Annotated[Services, Depends(services)]


@router.post("/infer", responses=problems.responses(400, 413, 415, 422, 429, 503))
async def infer(
    body: Annotated[InferRequest, Body()], request: Request, shared: Shared
) -> InferAnswer:
    """Run one task on one image or video.

    `object-detection`, `image-segmentation`, `pose-estimation` and `depth-estimation` take an
    image, `velocity-estimation` a video, `sam3-concept-segmentation` either.
    """
    begun = time.perf_counter()
    context = Context(body.task, shared, request, body)
    for name in sorted(getattr(body.options, "model_extra", None) or ()):
        context.warnings.append(f"{body.task} has no option called {name[:60]}; it was not used")
    with context.stage("total"):
        answer: InferAnswer = await _RUN[body.task](context)
    answer.processing_time_ms = 1000 * (time.perf_counter() - begun)
    return answer


FEATURE = Feature(router)
