"""One module a signal; see `benchmarks/quality.py`."""
