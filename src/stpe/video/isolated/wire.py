"""Messages between a process and its decoder: a JSON object, then blocks of bytes as they are."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from stpe.video.frame import ImageHW3

_HEAD = struct.Struct("<I")
#: Longest JSON of one message; a state record of a frame may be large.
_MOST = 256 << 20

Message = dict[str, Any]
Block = bytes | memoryview


def send(connection: socket.socket, message: Message, blocks: Sequence[Block] = ()) -> None:
    """Send a message and its blocks. Raises OSError if the other side is gone."""
    sizes = [memoryview(block).nbytes for block in blocks]
    text = json.dumps({**message, "blocks": sizes}, allow_nan=True).encode()
    connection.sendall(_HEAD.pack(len(text)) + text)
    for block in blocks:
        connection.sendall(block)


def receive(
    connection: socket.socket, within_s: float | None = None
) -> tuple[Message, list[memoryview]]:
    """The next message and its blocks.

    Raises:
        EOFError, OSError: the other side is gone.
        TimeoutError: the message was not here within `within_s` seconds.
    """
    deadline = None if within_s is None else time.monotonic() + within_s
    (size,) = _HEAD.unpack(_exactly(connection, _HEAD.size, deadline))
    if size > _MOST:
        raise EOFError
    message: Message = json.loads(bytes(_exactly(connection, size, deadline)))
    return message, [_exactly(connection, size, deadline) for size in message.pop("blocks")]


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> memoryview:
    block = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        if deadline is None:
            connection.settimeout(None)
        else:
            connection.settimeout(max(1e-3, deadline - time.monotonic()))
        count = connection.recv_into(block[at:])
        if not count:
            raise EOFError
        at += count
    return block


def packed(image: ImageHW3) -> memoryview:
    """An image as a block."""
    return np.ascontiguousarray(image).data.cast("B")


def image_of(block: memoryview, shape: Sequence[int]) -> ImageHW3:
    """The H x W x 3 image that a block holds. Raises ValueError where the size is another."""
    return np.frombuffer(block, np.uint8).reshape(shape)
