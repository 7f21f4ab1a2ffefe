"""One explicit order of samplers, the same on every host, with nothing hidden before or behind it.

transformers runs processors first, then its temperature and truncation, and fills what nobody set
from the model's own settings and from `top_k=50`. A chain brings everything itself, temperature
included, and switches the host's own off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from transformers import GenerationConfig, LogitsProcessorList

from diversify.decoding.steps import (
    STEPS,
    Step,
    parse_step,
    rescaled,
    shown_options,
    step_name,
    step_text,
)
from diversify.decoding.warpers.choice import XTC
from diversify.decoding.warpers.history import DRY
from diversify.decoding.warpers.hosts import Epsilon, Eta, MinP, Temperature, TopK, TopP, Typical
from diversify.decoding.warpers.rows import token_ids_with
from diversify.engines import Sampling

__all__ = ["BREAKERS", "NEUTRAL", "SamplingChain"]

NEUTRAL: dict[str, Any] = {
    "do_sample": True,
    "num_beams": 1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "guidance_scale": None,
    "watermarking_config": None,
    "renormalize_logits": False,
}
"""Options of `generate` under which transformers samples from the logits that it is given."""

HOST_ORDER: dict[str, type[Any]] = {
    "temperature": Temperature,
    "top_k": TopK,
    "top_p": TopP,
    "min_p": MinP,
    "typical_p": Typical,
    "epsilon_cutoff": Epsilon,
    "eta_cutoff": Eta,
}
"""transformers' options in the order in which it applies them, and their steps."""

BREAKERS = ("\n", ":", '"', "*")
"""No repetition that DRY counts runs across a token with one of these in it, as in its proposal."""


@dataclass(frozen=True, repr=False)
class SamplingChain:
    """Samplers in the order in which they run; the token is drawn from what the last one leaves.

    Where temperature stands decides what the others see. Before the truncation ("temperature
    first", as transformers and vLLM do it) a hotter chain also keeps more tokens; behind it
    ("temperature last", as llama.cpp does it) the tokens kept are those at temperature 1. The same
    numbers are therefore another sampler on another host; `temperature_first` and
    `temperature_last` convert them, where that is possible. Without a temperature the chain draws
    at 1.

    A chain is a decoder: `TransformersEngine(model, decoder=chain)`, and a sampler inside vLLM:
    `VLLMEngine(model, sampler=chain)`. With transformers alone,
    `model.generate(**inputs, **chain.generate_arguments())`. Every call gets fresh processors, so
    that no state outlives it.

    Args:
        steps: Instances of the classes of `STEPS`; none is plain sampling.

    Raises:
        ValueError: If a step is none of them, stands twice, or stands where it cannot work: EDT
            beside a temperature, anything behind mirostat 2.

    Example:
        >>> from diversify.decoding.warpers import TopNSigma
        >>> chain = SamplingChain([Temperature(1.5), TopNSigma(1.0), XTC()])
        >>> print(chain)
        1. temperature: temperature=1.5
        2. top_n_sigma: n=1.0
        3. xtc: threshold=0.1, probability=0.5, protected=()
        draw (temperature 1.5 comes first)
        >>> chain == SamplingChain.parse("temperature=1.5, top_n_sigma, xtc=0.1:0.5")
        True
    """

    steps: Sequence[Step]

    vllm_processor: ClassVar[str] = "diversify.decoding.vllm:ChainProcessor"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for step in self.steps:
            if type(step) not in STEPS.values():
                raise ValueError(f"a chain is made of {', '.join(STEPS)}, got {step!r}")
        names = [step_name(step) for step in self.steps]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"a chain has every step once, got {', '.join(twice)} twice")
        if {"edt", "temperature"} <= set(names):
            raise ValueError("edt is a temperature itself: set its base and leave temperature out")
        if "mirostat2" in names[:-1]:
            raise ValueError(
                f"mirostat2 must come last, it reckons with what is drawn; got {', '.join(names)}"
            )

    @classmethod
    def parse(cls, text: str) -> SamplingChain:
        """Read a chain from text: steps after commas, their options after colons, in order.

        Args:
            text: For instance `"temperature=0.8, top_n_sigma=1.0, xtc=0.1:0.5"`. What is left out
                is at its default.

        Raises:
            ValueError: If a name or a number cannot be read, or the chain is impossible.
        """
        return cls([parse_step(part.strip()) for part in text.split(",") if part.strip()])

    @classmethod
    def from_generation_config(cls, config: GenerationConfig) -> SamplingChain:
        """Show what transformers' `generate` would sample with by itself, hidden defaults included.

        Args:
            config: For instance `model.generation_config`.

        Raises:
            ValueError: If it sets something that is no step of a chain, such as a penalty.

        Example:
            >>> print(SamplingChain.from_generation_config(GenerationConfig(temperature=0.7)))
            1. temperature: temperature=0.7
            2. top_k: k=50
            draw (temperature 0.7 comes first)
        """
        own = {name: getattr(config, name) for name in NEUTRAL if name != "do_sample"}
        own["top_k"] = 50 if own["top_k"] is None else own["top_k"]
        set_ = {k: v for k, v in own.items() if v is not None and v != NEUTRAL[k]}
        steps = [kind(set_.pop(name)) for name, kind in HOST_ORDER.items() if name in set_]
        if set_:
            raise ValueError(f"no chain can say what these do: {set_}")
        return cls(steps)

    @property
    def temperature(self) -> float:
        """What the temperature step says; 1.0 without one."""
        at = self._temperature_at
        return 1.0 if at is None else self.steps[at].temperature  # type: ignore[attr-defined]

    @property
    def temperature_stands(self) -> Literal["nowhere", "first", "last", "between"]:
        """Where the temperature stands; alone it stands first."""
        at = self._temperature_at
        if at is None:
            return "nowhere"
        return "first" if at == 0 else "last" if at == len(self.steps) - 1 else "between"

    @property
    def text(self) -> str:
        """The chain as `parse` reads it, without token ids."""
        return ",".join(step_text(step) for step in self.steps)

    def temperature_first(self) -> SamplingChain:
        """Return the chain for a host that divides by the temperature before all else.

        It keeps the same tokens with the same probabilities. top_k and top_n_sigma stay as they
        are; min_p becomes `p ** (1 / T)`, min_k's tau and DRY's multiplier are divided by T.

        Raises:
            ValueError: If a step that would change sides has no exact equivalent (top_p, typical,
                epsilon, eta, p_less, p_less_norm, top_h, xtc, mirostat2).
        """
        at, t = self._temperature_at, self.temperature
        if at is None:
            return self
        before = [rescaled(step, t) for step in self.steps[:at]]
        return SamplingChain([self.steps[at], *before, *self.steps[at + 1 :]])

    def temperature_last(self) -> SamplingChain:
        """Return the chain for a host that divides by the temperature after all else.

        It keeps the same tokens with the same probabilities; see `temperature_first`, with 1 / T
        in place of T.

        Raises:
            ValueError: If a step that would change sides has no exact equivalent.
        """
        at, t = self._temperature_at, self.temperature
        if at is None:
            return self
        behind = [rescaled(step, 1 / t) for step in self.steps[at + 1 :]]
        return SamplingChain([*self.steps[:at], *behind, self.steps[at]])

    def for_tokenizer(self, tokenizer: Any) -> SamplingChain:
        r"""Return the chain with the token ids that its steps must know, where they have none yet.

        XTC protects the special tokens and those with a newline; DRY's breakers are the special
        tokens and those with a newline, colon, quote or asterisk.
        """

        def filled(step: Step) -> Step:
            if isinstance(step, XTC) and not step.protected:
                return replace(step, protected=token_ids_with(tokenizer, ["\n"]))
            if isinstance(step, DRY) and not step.breakers:
                return replace(step, breakers=token_ids_with(tokenizer, BREAKERS))
            return step

        return SamplingChain([filled(step) for step in self.steps])

    def logits_processors(self) -> LogitsProcessorList:
        """Return fresh processors in order, for one call of `generate`."""
        return LogitsProcessorList([replace(step) for step in self.steps])  # type: ignore[type-var]

    def generate_arguments(self) -> dict[str, Any]:
        """Return arguments of `generate` that run this chain and nothing else.

        The model's own settings and transformers' defaults are overruled: temperature, truncation,
        penalties, biases, beams. Ends, lengths and forbidden or forced tokens stay the model's.
        """
        return NEUTRAL | {"logits_processor": self.logits_processors()}

    def __call__(self, siblings: int, length: int) -> dict[str, Any]:
        """Return what `TransformersEngine` hands to `generate`; the engine itself is neutral."""
        return {"logits_processor": self.logits_processors()}

    def vllm_requests(
        self, n: int, sampling: Sampling, *, tokenizer: Any, seed: int
    ) -> list[dict[str, Any]]:
        """Return what `VLLMEngine` hands to vLLM for each of `n` samples of a prompt."""
        from diversify.decoding.vllm import vllm_arguments

        del sampling, seed  # plain, by check_sampling; each sample has its own seed from the engine
        return [vllm_arguments(self.for_tokenizer(tokenizer))] * n

    def check_sampling(self, sampling: Sampling) -> None:
        """Accept a `Sampling` that leaves the distribution to the chain.

        Raises:
            ValueError: If it has a temperature or a truncation of its own, which would be applied
                on top.
        """
        plain = Sampling()
        said = {
            name: value
            for name in ("temperature", "top_p", "top_k", "min_p")
            if (value := getattr(sampling, name)) != getattr(plain, name)
        }
        if said:
            settings = ", ".join(f"{name}={value}" for name, value in said.items())
            raise ValueError(
                f"a sampling chain is all there is: make {settings} a step of the chain "
                f"({self.text or 'empty'}), not of the sampling"
                + ("; temperature 0 is greedy and needs no chain" * (sampling.temperature == 0))
            )

    def __repr__(self) -> str:
        inner = (f"{type(step).__name__}({shown_options(step)})" for step in self.steps)
        return f"SamplingChain([{', '.join(inner)}])"

    def __str__(self) -> str:
        lines = [
            f"{number}. {step_name(step)}: {shown_options(step)}".removesuffix(": ")
            for number, step in enumerate(self.steps, start=1)
        ]
        stands = self.temperature_stands
        last = "at 1" if stands == "nowhere" else f"{self.temperature} comes {stands}"
        return "\n".join([*lines, f"draw (temperature {last})"])

    @property
    def _temperature_at(self) -> int | None:
        at = (i for i, step in enumerate(self.steps) if isinstance(step, Temperature))
        return next(at, None)
