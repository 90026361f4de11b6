"""What the OpenAPI document says beside what routes say themselves: an example for every body, the
answers of operations, problems and keys."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from stpe.serve import problems
from stpe.serve.guard import OPEN_PATHS
from stpe.serve.jobs.operations import OPERATIONS
from stpe.serve.jobs.states import ANSWER

_REF = "#/components/schemas/{model}"
#: A picture of one pixel.
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
_PICTURE = {"payloadBase64": _PNG, "mimeType": "image/png"}
_EMBED = {"operation": "embed_text", "data": {"text": "a dog on grass"}}
_FLAT = {"operation": "embed_text", "text": "a dog on grass"}
_URL = "https://example.org/clip.mp4"
_PROCESS = {
    "operation": "process_video",
    "data": {"video_url": _URL, "fps": 2},
}
_SESSION = "/api/v1/video/session"

#: Examples by path and name; each is a body that its route takes.
BODIES: dict[str, dict[str, Any]] = {
    "/infer": {
        "objects": {"task": "object-detection", **_PICTURE, "options": {"threshold": 0.3}},
        "concepts": {
            "task": "sam3-concept-segmentation",
            **_PICTURE,
            "options": {"text_prompt": "person, bicycle"},
        },
        "depth": {"task": "depth-estimation", **_PICTURE},
    },
    "/api/v1/infer": {
        "clip": {"frames": [_PNG] * 16, "width": 1, "height": 1, "format": "BGR"},
    },
    "/run": {"video": {"input": _PROCESS}, "text": {"input": _EMBED}},
    "/runsync": {"text": {"input": _EMBED}, "beside": {"input": _FLAT}},
    "/jobs/submit": {"video": _PROCESS, "text": _EMBED},
    "/v2/{endpoint}/run": {"text": {"input": _FLAT}},
    "/v2/{endpoint}/runsync": {"text": {"input": _FLAT}},
    f"{_SESSION}/start": {
        "path": {"video_path": "recordings/clip.mp4"},
        "url": {"video_url": _URL},
        "upload": {"upload_id": "6f1d0c3a9b8e4f2d8a7c5b4e3d2c1b0a"},
    },
    f"{_SESSION}/{{session_id}}/prompt": {
        "words": {"frame_index": 0, "prompts": [{"type": "text", "text": "person"}]},
        "box": {
            "frame_index": 0,
            "prompts": [
                {"type": "box", "box": [0.3, 0.2, 0.4, 0.6]},
                {"type": "point", "point": [0.5, 0.5], "label": 1},
            ],
        },
    },
    f"{_SESSION}/{{session_id}}/propagate": {
        "both": {"direction": "both", "start_frame_index": 0, "max_frames": 50},
    },
    "/api/v1/image/segment": {
        "words": {
            "imageBase64": _PNG,
            "mimeType": "image/png",
            "prompts": [{"type": "text", "text": "person, car"}],
        },
    },
    "/api/v1/tickets": {"events": {"path": "/jobs/none/events", "seconds": 300}},
    "/uploads": {"bytes": "the next bytes of the file"},
}


def complete(schema: dict[str, Any], keyed: bool) -> None:
    """Add to a document that FastAPI made of the routes.

    Args:
        schema: the document; changed.
        keyed: whether requests need a key.
    """
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _add(schemas, "Problem", problems.Problem.model_json_schema(ref_template=_REF))
    answers = sorted({o.output for o in OPERATIONS.values()}, key=lambda kind: kind.__name__)
    named, defined = models_json_schema(
        [(kind, "serialization") for kind in answers], ref_template=_REF
    )
    schemas.update(defined.get("$defs", {}))
    schemas[ANSWER] = {
        "description": "What an operation answers; which of these depends on the operation.",
        "anyOf": [named[kind, "serialization"] for kind in answers],
    }
    for path, examples in BODIES.items():
        for content in schema["paths"][path]["post"]["requestBody"]["content"].values():
            content["examples"] = {name: {"value": value} for name, value in examples.items()}
    if keyed:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        schema["security"] = [{"bearer": []}, {"key": []}]
        for path in OPEN_PATHS:
            schema["paths"][path]["get"]["security"] = []


def _add(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    schemas.update(schema.pop("$defs", {}))
    schemas[name] = schema
