"""Sends a clip over and over, in real time: `send_stream.py CLIP URL SECONDS` as MPEG-TS.

Joined midway, such a stream may begin with frames that have no time.
"""

import sys
import time
from fractions import Fraction

import av


def frames(clip):
    while True:
        with av.open(clip) as source:
            yield from source.decode(video=0)


def main(clip, url, seconds):
    begun = time.monotonic()
    with av.open(f"{url}?pkt_size=1316", "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        for number, frame in enumerate(frames(clip)):
            due = begun + number / 30
            if due > begun + seconds:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            picture = frame.reformat(320, 180, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(picture))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
