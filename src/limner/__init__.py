"""limner: what a person can say, show or pose becomes pictures and films."""

__version__ = "0.1.0"
