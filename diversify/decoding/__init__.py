"""Decoding for diversity: strategies that turn an engine and a prompt into `n` texts.

`SamplingChain` says from which distribution each token is drawn; its samplers are in
`diversify.decoding.warpers`. `diversify.decoding.siblings` has decoders that see a prompt's other
samples, or another model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diversify.decoding.adaptive import UntilSeen
from diversify.decoding.answers import DifferentAnswers, different
from diversify.decoding.clauses import FACETS, DivergeClause, Specifications
from diversify.decoding.in_context import InContext
from diversify.decoding.lists import read_answers
from diversify.decoding.personas import PERSONAS
from diversify.decoding.planned import Stratified, TitlesFirst
from diversify.decoding.prompting import Direct, Paraphrases, Personas, Strategy
from diversify.decoding.selection import OverGenerate
from diversify.decoding.strategies import STRATEGIES, build_strategy
from diversify.decoding.verbalized import Verbalized

if TYPE_CHECKING:
    from diversify.decoding.chain import SamplingChain
    from diversify.decoding.siblings import (
        G2,
        ArithmeticSampling,
        BaseAlignedRouting,
        DiverseBeams,
        SiblingRepulsion,
        StochasticBeams,
        Together,
    )

__all__ = [
    "FACETS",
    "G2",
    "PERSONAS",
    "STRATEGIES",
    "ArithmeticSampling",
    "BaseAlignedRouting",
    "DifferentAnswers",
    "Direct",
    "DivergeClause",
    "DiverseBeams",
    "InContext",
    "OverGenerate",
    "Paraphrases",
    "Personas",
    "SamplingChain",
    "SiblingRepulsion",
    "Specifications",
    "StochasticBeams",
    "Strategy",
    "Stratified",
    "TitlesFirst",
    "Together",
    "UntilSeen",
    "Verbalized",
    "build_strategy",
    "different",
    "read_answers",
]


def __getattr__(name: str) -> Any:
    # They bring torch and transformers, which the other strategies do without.
    if name in __all__:
        home = "chain" if name == "SamplingChain" else "siblings"
        return getattr(import_module(f"diversify.decoding.{home}"), name)
    raise AttributeError(f"module 'diversify.decoding' has no attribute {name!r}")
