"""Decoding in a process of its own: a file that kills the decoder costs that file and nothing else.

- `process.py`: one decoder process, and what its death is told as. `pool.py`: those that wait.
- `child.py`: what runs in it. `wire.py`: JSON and pixels between the two, over a socket pair.
- `source.py`, `frames.py`, `picture.py`: a source, random access and a single picture, from there.

Nothing that came out of a file is ever decoded, demuxed or scaled on this side; what arrives is RGB
images and plain JSON. The process has no settings, keys or credentials of this one's environment.
"""
