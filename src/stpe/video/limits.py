"""How large a source may be before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from stpe.errors import SourceLimitError

#: Members of an archive smaller than this may be packed as tightly as they like.
SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a source; past one of them it is refused with SourceLimitError.

    None means no bound. The pixel bound is checked before a frame is allocated, the archive bounds
    before a byte is unpacked.

    Attributes:
        max_pixels: width x height of one decoded frame.
        max_frames: decoded frames.
        max_seconds: last minus first presentation time.
        max_bytes: size of a file, a download, a folder, or an archive unpacked.
        max_entries: members of an archive or images of a folder.
        max_ratio: unpacked to packed size of one archive member over 1 MiB.
        connect_timeout_s, read_timeout_s: for a server to accept, and to send the next bytes.
        total_timeout_s: for a whole download.
        isolated: decode in a process of its own, so that a file which crashes the decoder is a
            SourceError like any other.
        decoder_bytes: memory that the isolated decoder may take.
    """

    max_pixels: int = 1 << 26
    max_frames: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = 1 << 40
    max_entries: int = 1_000_000
    max_ratio: float = 200.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    total_timeout_s: float | None = 6 * 3600.0
    isolated: bool = False
    decoder_bytes: int | None = None

    @property
    def decoder_pixels(self) -> str:
        """FFmpeg's `max_pixels`: it counts rows padded to 64 pixels, so some more than ours."""
        return str(self.max_pixels + (1 << 22))

    def check_frame(self, width: int, height: int) -> None:
        """Refuse a frame of too many pixels."""
        if width * height > self.max_pixels:
            raise SourceLimitError(
                f"a frame of {width}x{height} has more than {self.max_pixels} pixels; "
                "scale the video down or raise Limits.max_pixels"
            )

    def check_bytes(self, size: int) -> None:
        """Refuse a source of too many bytes."""
        if self.max_bytes is not None and size > self.max_bytes:
            raise SourceLimitError(
                f"the source has {size} bytes or more and {self.max_bytes} are allowed; "
                "cut it or raise Limits.max_bytes"
            )

    def check_member(self, size: int) -> None:
        """Refuse a picture or record, which is read whole, of more bytes than a raw picture of
        the most pixels could need."""
        allowed = self.max_pixels * 4 + SMALL_BYTES
        if size > allowed:
            raise SourceLimitError(
                f"one file of the source has {size} bytes and {allowed} are allowed; "
                "split it or raise Limits.max_pixels"
            )

    def check_entries(self, count: int) -> None:
        """Refuse an archive or folder of too many entries."""
        if count > self.max_entries:
            raise SourceLimitError(
                f"the source has {count} entries and {self.max_entries} are allowed; "
                "split it or raise Limits.max_entries"
            )

    def check_length(self, frames: int, seconds: float) -> None:
        """Refuse more decoded frames or seconds than allowed."""
        if self.max_frames is not None and frames > self.max_frames:
            raise SourceLimitError(
                f"the video has more than {self.max_frames} frames; "
                "cut it or raise Limits.max_frames"
            )
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise SourceLimitError(
                f"the video is longer than {self.max_seconds:g} s; "
                "cut it or raise Limits.max_seconds"
            )
