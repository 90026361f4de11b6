"""COCO: analysed frames as JPEG and one JSON with boxes, RLE masks, keypoints and track ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stpe import strict_json
from stpe.dataset.export.images import write_jpeg
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import Scene, SceneFrame, scenes
from stpe.dataset.export.skeleton import JOINTS, LEAST_SCORE, LINES
from stpe.dataset.reader import Dataset

#: COCO counts joints from 1.
_SKELETON = [[a + 1, b + 1] for a, b in LINES]


def write(dataset: Dataset, out: Path, part: Part = WHOLE) -> None:
    """`annotations.json` and `images/<video>/<frame index>.jpg`.

    Ids of images and annotations count from 1 in time order. A box is x, y, width, height. An
    instance without a mask has no `segmentation`. Beside COCO's own fields an image has
    `video_id`, `frame_index` and `pts`, an annotation `score` and `track_id`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories = _categories(dataset)
    for scene in scenes(dataset, part):
        folder = out / "images" / scene.name
        folder.mkdir(parents=True)
        for frame, pixels in zip(scene.frames, scene.images(), strict=True):
            name = f"{frame.index:08d}.jpg"
            write_jpeg(folder / name, pixels)
            images.append(_image(scene, frame, f"{scene.name}/{name}", len(images) + 1))
            for item in frame.objects:
                row = {"id": len(annotations) + 1, "image_id": len(images)}
                annotations.append(row | _annotation(item, categories))
    document = {
        "info": {"description": "Exported by STPE"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [_category(name, number) for name, number in categories.items()],
    }
    (out / "annotations.json").write_text(strict_json.dumps(document))


def _categories(dataset: Dataset) -> dict[str, int]:
    labels = dataset.arrow("objects", columns=["label"])["label"].unique().to_pylist()
    return {label: n for n, label in enumerate(sorted(filter(None, labels)), 1)}


def _category(name: str, number: int) -> dict[str, Any]:
    category: dict[str, Any] = {"id": number, "name": name, "supercategory": name}
    if name == "person":
        category |= {"keypoints": list(JOINTS), "skeleton": _SKELETON}
    return category


def _image(scene: Scene, frame: SceneFrame, name: str, number: int) -> dict[str, Any]:
    width, height = scene.size
    return {
        "id": number,
        "file_name": name,
        "width": width,
        "height": height,
        "video_id": scene.video_id,
        "frame_index": frame.index,
        "pts": frame.pts,
    }


def _annotation(item: dict[str, Any], categories: dict[str, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = item["box_xyxy"]
    row: dict[str, Any] = {
        "category_id": categories[item["label"]],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": item["area_px"],
        "iscrowd": 0,
        "score": item["confidence"],
        "track_id": item["track_id"],
    }
    if item["mask_rle"] is not None:
        row["segmentation"] = item["mask_rle"]
    if item["keypoints"] is not None:
        joints = [item["keypoints"][i : i + 3] for i in range(0, len(item["keypoints"]), 3)]
        seen = [[x, y, 2] if score >= LEAST_SCORE else [0, 0, 0] for x, y, score in joints]
        row["keypoints"] = [value for joint in seen for value in joint]
        row["num_keypoints"] = sum(joint[2] > 0 for joint in seen)
    return row
