"""Decoding for diversity: strategies that turn an engine and a prompt into `n` texts."""

from diversify.decoding.prompting import Direct, Strategy
from diversify.decoding.selection import OverGenerate

__all__ = ["Direct", "OverGenerate", "Strategy"]
