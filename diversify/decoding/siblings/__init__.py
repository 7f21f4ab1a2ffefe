"""Decoding that sees the other samples of a prompt, or another model, while it writes.

Everything but `G2`, which is a strategy, is a `Decoder`: called with the number of samples a prompt
and the length of the prompt it returns more arguments of `model.generate`, so that it works as
`TransformersEngine(model, decoder=...)` and with transformers alone. None needs `trust_remote_code`.
The siblings, the samples of one prompt, are neighbouring rows.
"""

from diversify.decoding.siblings.arithmetic import ArithmeticProcessor, ArithmeticSampling
from diversify.decoding.siblings.codes import arithmetic_codes, arithmetic_step
from diversify.decoding.siblings.decoders import DECODERS, build_decoder, check_decoder
from diversify.decoding.siblings.diverse_beams import DiverseBeams, hamming_choice
from diversify.decoding.siblings.g2 import G2
from diversify.decoding.siblings.guidance import Guidance, guided_logits
from diversify.decoding.siblings.repulsion import SiblingRepulsion, sibling_penalty
from diversify.decoding.siblings.routing import BaseAlignedRouting, base_speaks
from diversify.decoding.siblings.stochastic_beams import StochasticBeams, gumbel_children
from diversify.decoding.siblings.together import Together
from diversify.decoding.siblings.words import punctuation_ids

__all__ = [
    "DECODERS",
    "G2",
    "ArithmeticProcessor",
    "ArithmeticSampling",
    "BaseAlignedRouting",
    "DiverseBeams",
    "Guidance",
    "SiblingRepulsion",
    "StochasticBeams",
    "Together",
    "arithmetic_codes",
    "arithmetic_step",
    "base_speaks",
    "build_decoder",
    "check_decoder",
    "guided_logits",
    "gumbel_children",
    "hamming_choice",
    "punctuation_ids",
    "sibling_penalty",
]
