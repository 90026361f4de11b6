"""One reader of times for logs, images, records, poses and truth.

A unit that is named (`timestamp_ns`, `t_ms`, `[us]` in a header, the type of a column) is believed.
Where none is, `reading.in_seconds` tells it by size and spacing and says so, or refuses.
"""
