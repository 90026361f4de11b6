"""Still pictures as other programs write them: profiles, notes, orientations, damage."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

from malformed import png


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
