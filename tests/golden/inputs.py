"""Small inputs of each kind of source, the same for the same seed."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from stpe.simulate import doom, physics

FPS = 24


def pictures(count: int, size: tuple[int, int] = (320, 180)) -> Iterator[np.ndarray]:
    """Two boxes that move over a textured ground that drifts, with a cut in the middle."""
    width, height = size
    rng = np.random.default_rng(0)
    grounds = [
        rng.integers(60, 200, (height // 4, width // 4 + 40, 3)).astype(np.uint8) for _ in range(2)
    ]
    for n in range(count):
        ground = cv2.resize(grounds[2 * n // count], (width + 160, height))
        picture = ground[:, n : n + width].copy()
        for (x, y), colour in (
            ((20 + 5 * n, 40), (220, 40, 30)),
            ((200 - 3 * n, 100), (20, 60, 210)),
        ):
            cv2.rectangle(picture, (x, y), (x + 40, y + 50), colour, -1)
        yield picture


def rotated(folder: Path) -> dict[str, Path]:
    """A clip that is stored upright and marked as turned by a quarter."""
    path = folder / "rotated.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"threads": "1", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n, picture in enumerate(pictures(2 * FPS)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    # The matrix of the track header: 90 degrees clockwise instead of none.
    upright = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    turned = b"".join(
        n.to_bytes(4, "big", signed=True)
        for n in (0, 1 << 16, 0, -(1 << 16), 0, 0, 180 << 16, 0, 1 << 30)
    )
    header = data.index(b"tkhd")
    place = data.index(upright, header)
    path.write_bytes(data[:place] + turned + data[place + len(upright) :])
    return {"source": path}


def folder_of_images(folder: Path) -> dict[str, Path]:
    """Eight PNG files."""
    images = folder / "images"
    images.mkdir()
    for n, picture in enumerate(pictures(8)):
        Image.fromarray(picture).save(images / f"{n:03}.png")
    return {"source": images}


def zip_with_states(folder: Path) -> dict[str, Path]:
    """Eight PNG files with a record of the game beside each."""
    path = folder / "states.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n, picture in enumerate(pictures(8)):
            image = io.BytesIO()
            Image.fromarray(picture).save(image, "PNG")
            _keep(archive, f"{n:03}.png", image.getvalue())
            player = {"x": float(n), "y": 2.0, "health": 100 - n // 4 * 30}
            record = {"timestamp": n / 4, "player": player}
            _keep(archive, f"{n:03}.json", json.dumps(record).encode())
    return {"source": path}


def _keep(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # without the time of day


def game(folder: Path) -> dict[str, Path]:
    """Two seconds of the game engine, with its log."""
    made = doom.record(folder / "game", 2, seed=3, resolution=(320, 240))
    return {"source": made.video, "state": made.state_log}


def physics_scene(folder: Path) -> dict[str, Path]:
    """Two seconds of the physics engine, with its log."""
    made = physics.record(folder / "physics", 2, seed=3, resolution=(320, 240))
    return {"source": made.video, "state": made.state_log}


INPUTS: dict[str, Callable[[Path], dict[str, Path]]] = {
    f.__name__: f for f in (rotated, folder_of_images, zip_with_states, game, physics_scene)
}
