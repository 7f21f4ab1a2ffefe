"""Decoding for diversity: strategies that turn an engine and a prompt into `n` texts."""

from diversify.decoding.personas import PERSONAS
from diversify.decoding.prompting import Direct, Paraphrases, Personas, Strategy
from diversify.decoding.selection import OverGenerate
from diversify.decoding.verbalized import Verbalized, read_answers

__all__ = [
    "PERSONAS",
    "Direct",
    "OverGenerate",
    "Paraphrases",
    "Personas",
    "Strategy",
    "Verbalized",
    "read_answers",
]
