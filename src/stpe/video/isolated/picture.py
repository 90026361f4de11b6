"""One encoded picture, decoded in a process of its own."""

from __future__ import annotations

from dataclasses import asdict, replace

from stpe.video.frame import ImageHW3
from stpe.video.isolated.pool import POOL
from stpe.video.isolated.wire import image_of
from stpe.video.limits import Limits

#: The largest picture that limits let through takes a second or two.
_WITHIN_S = 30.0


def isolated_picture(data: bytes, limits: Limits, room_bytes: int | None = None) -> ImageHW3:
    """The picture as an upright RGB image, whole.

    Args:
        data: the file.
        limits: of its pixels.
        room_bytes: memory that decoding may take; None for no bound.

    Raises:
        SourceError: it is damaged.
        SourceLimitError: it is too large, or takes more memory.
        DecoderDiedError: the decoder crashed on it.
    """
    plain = asdict(replace(limits, isolated=False, decoder_bytes=room_bytes))
    with POOL.borrowed() as process:
        answer, (block,) = process.ask({"do": "picture", "limits": plain}, _WITHIN_S, [data])
        return image_of(block, answer["shape"])
