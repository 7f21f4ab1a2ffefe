"""Arithmetic sampling: the samples of a prompt share one random number and so keep apart."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.siblings.codes import arithmetic_codes, arithmetic_step
from diversify.decoding.siblings.loops import check_drawing, check_host, groups_of, sample_between
from diversify.decoding.warpers.rows import check_number
from diversify.engines import Sampling
from diversify.kernels import check_integer

__all__ = ["ArithmeticProcessor", "ArithmeticSampling"]

SPENT = 2.0**-26
"""A text this unlikely has used up half the bits of its code; the next token starts a new one."""


@dataclass(frozen=True)
class ArithmeticSampling:
    r"""Draw the samples of a prompt from evenly spaced points of the model's own distribution.

    Sibling i of n has the code :math:`c_i = (i / n + b) \bmod 1`, with one b for all of them,
    uniform in [0, 1) for each prompt. At each step a row takes the token whose interval of the
    cumulative distribution holds its code, and the code is rescaled to that interval. So every
    sample by itself is an exact draw from the model with the temperature and truncation of the
    call: nothing is lost in quality. Together they are stratified: of n samples, floor(n p) or
    ceil(n p) begin with a token of probability p.

    It cannot make a collapsed distribution diverse: it only keeps n draws from repeating what
    chance would repeat. Once siblings have parted, which takes about log2(n) bits, they are
    independent in effect.

    Cost: no model work; a softmax and a cumulative sum in float64 at each step. A `Decoder` for
    `TransformersEngine(model, decoder=ArithmeticSampling())`, or with transformers alone
    `model.generate(ids, do_sample=True, num_return_sequences=n, **ArithmeticSampling()(n, 0))`. The
    random numbers come from the stream that `generate` draws from, which the engine seeds for each
    prompt. An engine that draws a prompt's samples in parts stratifies each part. Inside vLLM,
    `VLLMEngine(model, sampler=ArithmeticSampling())`: each sample carries its code, so that they
    need not run together.

    Args:
        offset: b for every prompt, in [0, 1). The set is then the same each time, and no draw from
            the model; for tests and demonstrations. None takes it from the random stream.

    Raises:
        ValueError: If `offset` is outside its range; when called, if decoding is greedy or the rows
            are not whole groups.
        ImportError: If transformers has no sampling loop to call.

    Reference:
        L. Vilnis et al., "Arithmetic Sampling: Parallel Diverse Decoding for Large Language Models",
        arXiv 2210.15458. Deviations: spacing 1/n; no permutation of the vocabulary; a row whose text
        has become less likely than 2^-26 gets a fresh code, before float64 runs out. That decision
        depends on the text alone, so the draw stays exact, and at that point no sibling is left in
        the row's interval.
    """

    offset: float | None = None

    vllm_processor: ClassVar[str] = "diversify.decoding.vllm:ChainProcessor"

    def __post_init__(self) -> None:
        check_host()
        if self.offset is not None:
            check_number(
                "offset", self.offset, low=0.0, high=1.0, low_included=True, high_included=False
            )

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return what makes `model.generate` draw `siblings` neighbouring rows together."""
        del length
        siblings = check_integer("siblings", siblings, 1)
        return {"custom_generate": partial(self._generate, siblings=siblings)}

    def check_sampling(self, sampling: Sampling) -> None:
        """Accept a `Sampling` that draws.

        Raises:
            ValueError: If it is greedy.
        """
        check_drawing(sampling)

    def vllm_requests(
        self, n: int, sampling: Sampling, *, tokenizer: Any, seed: int
    ) -> list[dict[str, Any]]:
        """Return what `VLLMEngine` hands to vLLM for each of `n` samples of a prompt.

        Args:
            n: Samples of the prompt.
            sampling: Temperature and truncation, which the codes are points of.
            tokenizer: Not needed.
            seed: Where b comes from, if `offset` does not say it.
        """
        from diversify.decoding.vllm import chain_of, vllm_arguments

        del tokenizer
        stream = torch.Generator().manual_seed(seed)
        drawn = float(torch.rand((), dtype=torch.float64, generator=stream))
        codes = arithmetic_codes(n, offset=drawn if self.offset is None else self.offset)
        chain = chain_of(sampling)
        return [vllm_arguments(chain, code=code) for code in codes.tolist()]

    def _generate(self, model: Any, input_ids: Tensor, *, siblings: int, **given: Any) -> Any:
        check_drawing(given["generation_config"])
        stream = None if self.offset is None else torch.Generator().manual_seed(0)
        last = ArithmeticProcessor(siblings, offset=self.offset, generator=stream)
        given["generation_config"] = copy(given["generation_config"])
        given["generation_config"].do_sample = False  # one token is left: nothing is to be drawn
        return sample_between(model, input_ids, after=[last], **given)


@dataclass
class ArithmeticProcessor(LogitsProcessor):
    """Leave one token of each row, by its code; for one call of `generate`, and last in its list.

    Args:
        siblings: Rows of one prompt, neighbours.
        offset: See `ArithmeticSampling`.
        generator: Where the random numbers come from; None is torch's own stream on the CPU, the
            one that `generate` draws from.
    """

    siblings: int
    offset: float | None = None
    generator: torch.Generator | None = None
    _codes: Tensor | None = field(default=None, init=False, repr=False)
    _mass: Tensor = field(init=False, repr=False)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return 0 for the token of each row and -inf for the others."""
        del input_ids
        # One random stream for all devices; and some have no float64.
        exact = scores.cpu() if scores.device.type == "mps" else scores
        if self._codes is None:
            self._codes = self._first_codes(len(scores)).to(exact.device)
            self._mass = torch.ones_like(self._codes)
        tokens, codes, widths = arithmetic_step(exact, self._codes)
        self._mass = self._mass * widths
        spent = (self._mass < SPENT).nonzero().squeeze(-1)
        if len(spent):
            codes[spent] = self._uniform(len(spent)).to(codes.device)
            self._mass[spent] = 1.0
        self._codes = codes
        chosen = tokens.to(scores.device).unsqueeze(-1)
        return torch.full_like(scores, -torch.inf).scatter_(-1, chosen, 0.0)

    def _first_codes(self, rows: int) -> Tensor:
        groups = groups_of(rows, self.siblings)
        if self.offset is None:
            offsets = self._uniform(groups)
        else:
            offsets = torch.full((groups,), self.offset, dtype=torch.float64)
        return arithmetic_codes(self.siblings, offset=offsets).flatten()

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, dtype=torch.float64, generator=self.generator)
