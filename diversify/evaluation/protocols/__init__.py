"""Benchmark protocols: finished runs scored as their authors scored them, by name and version."""

from diversify.evaluation.protocols.by_name import PROTOCOLS, SETTINGS, Settings, score_protocol

__all__ = ["PROTOCOLS", "SETTINGS", "Settings", "score_protocol"]
