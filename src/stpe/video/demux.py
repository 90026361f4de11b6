"""From a video file to the packets of its picture stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.error import ArgumentError, FFmpegError, InvalidDataError

from stpe.errors import SourceError
from stpe.video.claims import Seen
from stpe.video.essential import PNG_SIGNATURE, essential
from stpe.video.limits import Limits

#: Containers that hold their own frames. Playlists and scripts (HLS, DASH, concat, SDP) are left
#: out: they would make the decoder open other files and addresses.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,apng,nut,mxf,ivf,obu,av1,h264,hevc,vvc,"
    "m4v,mpegvideo,mjpeg,yuv4mpegpipe,dv,rm,wtv,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,ppm_pipe"
)
#: Seconds that FFmpeg may spend on probing, and on finding the next packet of a local file.
_TIMEOUT_S = (30.0, 30.0)


def open_container(path: Path, limits: Limits) -> Any:
    """PyAV's container of a local file, held to video formats. Raises SourceError."""
    options = {
        "format_whitelist": _FORMATS,
        "protocol_whitelist": "file",
        "max_pixels": limits.decoder_pixels,
    }
    try:
        container = av.open(
            _content(path), options=options, metadata_errors="replace", timeout=_TIMEOUT_S
        )
        # PyAV asks FFmpeg to make up missing times, which it does wrong where frames are reordered.
        container.flags &= ~av.container.Flags.gen_pts.value
        return container
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"not a video that can be read ({_reason(error)}); check the file or re-encode it"
        ) from None


def use_one_thread(context: Any) -> None:
    """Set a decoder to give the same pictures on every machine.

    Threads of a decoder race where a stream is damaged: one conceals what another already reads.
    Not every damage is noticed, so all streams are decoded in one thread.
    """
    context.thread_count = 1
    context.thread_type = "NONE"


def _content(path: Path) -> str | io.BytesIO:
    """What to open. Notes of an animated PNG are unpacked on opening, so they are left out."""
    with path.open("rb") as file:
        if file.read(8) != PNG_SIGNATURE:
            return f"file:{path}"
    return io.BytesIO(essential(path.read_bytes(), "png")[0])


def without_notes(packet: Any, codec: str) -> Any:
    """The packet without what its decoder does not need; see `essential`."""
    data = bytes(packet) if packet.size and codec in ("png", "apng", "mjpeg", "webp") else b""
    needed = essential(data, codec)[0]
    if len(needed) == len(data):
        return packet
    short = av.Packet(needed)
    short.stream, short.time_base = packet.stream, packet.time_base
    short.pts, short.dts, short.duration = packet.pts, packet.dts, packet.duration
    short.is_keyframe = packet.is_keyframe
    return short


def packets(container: Any, stream: Any, problems: list[str], seen: Seen) -> Iterator[Any]:
    """Packets of the stream; at the end an empty one or None, which empties the decoder."""
    demuxed = container.demux()
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except IndexError:
            # PyAV's way out of a file in which a further stream turns up late.
            yield None
            return
        except FFmpegError as error:
            problems.append(f"the file breaks off: {_reason(error)}")
            yield None
            return
        if packet.stream.index != stream.index:
            seen.other(packet)
            continue
        seen.packet(packet)
        yield without_notes(packet, stream.codec_context.name)


def video_stream(container: Any) -> Any:
    """The largest stream with pictures that is not cover art. Raises SourceError."""
    streams = picture_streams(container)
    if not streams:
        raise SourceError("no video stream that can be decoded; give a video")
    return max(streams, key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index))


def picture_streams(container: Any) -> list[Any]:
    """The streams with pictures that are neither cover art nor thumbnails."""
    no_video = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return [s for s in container.streams.video if s.codec_context and not s.disposition & no_video]


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidDataError):
        return "its content is damaged or of no known format"
    if isinstance(error, ArgumentError):
        return "its format is not one of a self-contained video"
    return str(getattr(error, "strerror", None) or error).lower()
