"""Still pictures as other programs write them: profiles, notes, orientations, damage."""

import io
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from clips import number, numbered
from malformed import png
from PIL import Image

from stpe.errors import SourceError
from stpe.serve.payload import decode_image
from stpe.video import Grid, Limits, open_source, sample


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(picture: bytes, *chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    return picture[:33] + b"".join(chunks) + picture[33:]


READ = """
import sys
from pathlib import Path
from stpe.video import Grid, Limits, open_source, sample
from stpe.serve.payload import decode_image
for path in sys.argv[1:]:
    with open_source(path) as source:
        for _ in range(3):
            print(len(list(sample(source, [Grid("all")]))), source.info.width, source.info.height)
    if Path(path).suffix == ".png":
        print(decode_image(Path(path).read_bytes(), Limits()).shape)
"""


def test_a_profile_with_a_name_does_not_kill_the_process(tmp_path: Path):
    """In a process of its own: what is tested for is a crash."""
    profile = chunk(b"iCCP", b"Display P3\0\0" + zlib.compress(bytes(range(256)) * 9))
    picture = with_chunks(png(), profile)
    (tmp_path / "f").mkdir()
    for name in ("f/a.png", "f/b.png", "one.png"):
        (tmp_path / name).write_bytes(picture)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "f"), str(tmp_path / "one.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2 96 64"] * 3 + ["1 96 64"] * 3 + ["(64, 96, 3)"]


def exif_block(tag: int, entries: int = 0, size: int = 0) -> bytes:
    """An orientation, and further entries that all point to the same `size` bytes."""
    data_at = 10 + 12 * (entries + 1) + 4
    directory = struct.pack("<HHIHH", 0x0112, 3, 1, tag, 0)
    for i in range(entries):
        directory += struct.pack("<HHII", 0x1000 + i, 3, size // 2, data_at)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries + 1) + directory + bytes(4 + size)


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def with_exif(kind: str, image: np.ndarray, exif: bytes) -> bytes:
    if kind == "PNG":
        return with_chunks(encoded(image, kind), chunk(b"eXIf", exif))
    if kind == "TIFF":
        return encoded(image, kind, tiffinfo={274: exif[18]})
    return encoded(image, kind, exif=b"Exif\0\0" + exif, quality=95)


def bombs() -> dict[str, bytes]:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(120)) + packer.flush()
    exif = exif_block(6, 2500, 30_000)
    image = numbered(5)
    animated = encoded(image, "PNG", save_all=True, append_images=[Image.fromarray(numbered(6))])
    notes = {
        "ztxt": chunk(b"zTXt", b"k\0\0" + packed),
        "itxt": chunk(b"iTXt", b"k\0\1\0\0\0" + packed),
        "iccp": chunk(b"iCCP", b"k\0\0" + packed),
    }
    made = {f"{name}.png": with_chunks(png(), note) for name, note in notes.items()}
    made["animated.png"] = with_chunks(animated, notes["ztxt"])
    made |= {f"exif.{kind.lower()}": with_exif(kind, image, exif) for kind in ("JPEG", "PNG")}
    made["exif.webp"] = with_exif("WEBP", image, exif)
    return made


def test_notes_and_profiles_cost_no_memory(tmp_path: Path):
    """Each would unpack to hundreds of megabytes, alone, in a folder, or sent to the server."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in bombs().items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(data)
        for path in (folder, folder / name):
            with open_source(path) as source:
                assert len(list(source)) == (2 if path.name == "animated.png" else 1)
        decode_image(data, Limits())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + (100 << 10)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_applied(tmp_path: Path, kind: str, tag: int):
    shown = numbered(5)
    stored = shown[:, ::-1] if tag in (2, 4, 5, 7) else shown
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 1, 7: 1, 8: 3}[tag]
    stored = np.ascontiguousarray(np.rot90(stored, turns) if tag not in (5, 7) else stored)
    if tag in (5, 7):  # transposed, along one diagonal or the other
        stored = shown.transpose(1, 0, 2) if tag == 5 else shown[::-1, ::-1].transpose(1, 0, 2)
    data = with_exif(kind, np.ascontiguousarray(stored), exif_block(tag))
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with open_source(path) as source:
        assert (source.info.width, source.info.height) == (96, 64)
        images = [next(sample(source, [Grid("all")])).images["all"], decode_image(data, Limits())]
    for image in images:
        assert number(image) == 5
        assert np.percentile(np.abs(image.astype(int) - shown), 75) < 8


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_a_picture_that_is_cut_off_is_left_out_and_named(tmp_path: Path, kind, options):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    whole = encoded(noise, kind, **options)
    (tmp_path / "0.jpg").write_bytes(whole)
    for i, percent in enumerate((5, 50, 95), 1):
        (tmp_path / f"{i}.jpg").write_bytes(whole[: len(whole) * percent // 100])
    (tmp_path / "4.jpg").write_bytes(whole[:-2])
    with open_source(tmp_path) as source:
        assert [frame.index for frame in source] == [0]
        said = " ".join(source.info.warnings)
        assert all(f"{i}.jpg was skipped" in said for i in (1, 2, 3, 4))
    for i in (1, 2, 3, 4):
        with pytest.raises(SourceError):
            open_source(tmp_path / f"{i}.jpg")
        with pytest.raises(SourceError):
            decode_image((tmp_path / f"{i}.jpg").read_bytes(), Limits())


def test_an_animated_webp_is_a_video(tmp_path: Path):
    pictures = [Image.fromarray(numbered(i)) for i in range(4)]
    path = tmp_path / "a.webp"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[100, 50, 200, 3000], quality=95
    )
    with open_source(path) as source:
        got = list(sample(source, [Grid("all")]))
        assert [s.pts for s in got] == pytest.approx([0, 0.1, 0.15, 0.35])
        assert [number(s.images["all"]) for s in got] == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError):
        open_source(path)
