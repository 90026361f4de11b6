"""The sound of a source, for a video that is written beside it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from stpe.errors import SourceError
from stpe.video.demux import open_container
from stpe.video.limits import Limits

#: Codecs that an MP4 file holds as they are; other sound is encoded anew as AAC.
_COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")


class Sound:
    """Sound of a source that follows its pictures into another file. Close it after use.

    Args:
        media: the source.
        container: the file that is written, before its first packet.
        begin_s: time of the source that is zero in the file; what sounds before is left out.
        end_s: time of the source where the sound ends.
    """

    def __init__(self, media: Path, container: Any, begin_s: float, end_s: float) -> None:
        self._out = container
        self._begin_s, self._end_s = begin_s, end_s
        self._source: Any = None
        self._pending: Any = None
        try:
            opened = open_container(media, Limits())
        except (SourceError, OSError):
            return  # pictures in a folder or ZIP
        known = [stream for stream in opened.streams.audio if stream.codec_context]
        if not known:
            opened.close()
            return
        self._source = opened
        heard = known[0]
        if heard.codec_context.codec.canonical_name in _COPIED:
            self._stream = container.add_stream_from_template(heard)
            self._packets = self._copied(heard)
        else:
            self._stream = container.add_stream(
                "aac", rate=heard.codec_context.sample_rate or 48000
            )
            self._packets = self._encoded(heard)
        self._pending = next(self._packets, None)

    def until(self, time_s: float) -> None:
        """Write what begins before this time of the written file."""
        while self._pending is not None:
            packet = self._pending
            if float(packet.pts * packet.time_base) >= time_s:
                return
            self._out.mux(packet)
            self._pending = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()

    def _demuxed(self, heard: Any) -> Iterator[Any]:
        try:
            for packet in self._source.demux(heard):
                if packet.pts is None:
                    continue
                time_s = float(packet.pts * packet.time_base)
                if time_s >= self._end_s:
                    return
                if time_s >= self._begin_s:
                    yield packet
        except FFmpegError:
            return  # the file breaks off; its pictures end there too

    def _copied(self, heard: Any) -> Iterator[Any]:
        for packet in self._demuxed(heard):
            shift = round(self._begin_s / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._stream
            yield packet

    def _encoded(self, heard: Any) -> Iterator[Any]:
        context = self._stream.codec_context
        resampler = av.AudioResampler("fltp", heard.codec_context.layout, context.sample_rate)
        base = Fraction(1, context.sample_rate)
        for packet in self._demuxed(heard):
            try:
                frames = heard.decode(packet)
            except FFmpegError:
                continue  # a damaged packet
            for frame in frames:
                begin_s = float(frame.pts * frame.time_base) - self._begin_s
                for part in resampler.resample(frame):
                    part.pts, part.time_base = round(begin_s / base), base
                    begin_s += part.samples / context.sample_rate
                    yield from self._stream.encode(part)
        yield from self._stream.encode(None)
