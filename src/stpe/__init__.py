"""STPE, the Spatio-Temporal Perception Engine: raw video in, structured and measured data out."""

__version__ = "0.1.0"
