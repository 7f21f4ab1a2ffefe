"""The chain inside vLLM, against stand-ins of its two interfaces: the same masks as transformers."""

import enum
import math
import sys
from abc import ABC, abstractmethod
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from diversify.decoding import ArithmeticSampling, SamplingChain
from diversify.decoding import vllm as adapter
from diversify.decoding.siblings import arithmetic_codes, arithmetic_step
from diversify.decoding.vllm import (
    CHAIN,
    CODE,
    HOST,
    PROCESSOR,
    chain_of,
    read_chain,
    vllm_arguments,
    written_chain,
)
from diversify.decoding.warpers import XTC, TopNSigma
from diversify.engines import Sampling, stable_seed

OUT = -math.inf
CHAINS = (
    "temperature=1.5,top_n_sigma=1.2",
    "dry=2:1.75:1,temperature=0.8,min_p=0.02",
    "temperature=1.5,mirostat2=2.5",
    "temperature=1.5,top_k=30,xtc=0.02:1.0",
)
VOCABULARY = 60


class Move(enum.Enum):
    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


class First(ABC):
    """The shape of the first runner's base class."""

    @abstractmethod
    def __init__(self, vllm_config, device, is_pin_memory): ...
    @abstractmethod
    def apply(self, logits): ...
    @abstractmethod
    def is_argmax_invariant(self): ...
    @abstractmethod
    def update_state(self, batch_update): ...


class Second(ABC):
    """The shape of the second runner's base class."""

    @abstractmethod
    def apply(self, logits, ctx): ...


@pytest.fixture(params=["both", "first", "second"])
def processor(request, monkeypatch):
    """`ChainProcessor` as it is made where a vLLM has one interface or both."""
    monkeypatch.delitem(vars(adapter), "ChainProcessor", raising=False)
    for name, base in (
        ("vllm.v1.worker.gpu.sample.logits_processor", Second),
        ("vllm.v1.sample.logits_processor", First),
    ):
        stem = name.split(".")
        for end in range(1, len(stem) + 1):
            part = ".".join(stem[:end])
            if part not in sys.modules or end == len(stem):
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
        if request.param in ("both", base.__name__.lower()):
            sys.modules[name].LogitsProcessor = base
        else:
            monkeypatch.setitem(sys.modules, name, None)
    kind = adapter.ChainProcessor
    assert (kind.__module__, kind.__name__) == ("diversify.decoding.vllm", "ChainProcessor")
    monkeypatch.delitem(vars(adapter), "ChainProcessor", raising=False)
    return kind, request.param


def params(chain=None, **options):
    if chain is None:
        return SimpleNamespace(**HOST | {"seed": None, "extra_args": None} | options)
    return SimpleNamespace(**vllm_arguments(chain) | {"seed": 3} | options)


class FirstHost:
    """Keeps requests in a dense batch: the last one moves into a gap."""

    def __init__(self, kind):
        self.processor = kind(SimpleNamespace(speculative_config=None), torch.device("cpu"), False)
        self.names, self.texts, self.update = [], {}, [[], [], []]

    def add(self, name, sampling, prompt):
        self.texts[name] = (list(prompt), [])
        self.update[1].append((len(self.names), sampling, *self.texts[name]))
        self.names.append(name)

    def remove(self, name):
        at = self.names.index(name)
        self.update[0].append(at)
        last = self.names.pop()
        if last != name:
            self.update[2].append((len(self.names), at, Move.UNIDIRECTIONAL))
            self.names[at] = last

    def swap(self, one, other):
        i, j = self.names.index(one), self.names.index(other)
        self.update[2].append((i, j, Move.SWAP))
        self.names[i], self.names[j] = self.names[j], self.names[i]

    def step(self, logits_of):
        removed, added, moved = self.update
        changed = SimpleNamespace(removed=removed, added=added, moved=moved)
        self.processor.update_state(changed if any(self.update) else None)
        self.update = [[], [], []]
        logits = torch.cat([logits_of[name] for name in self.names])
        left = self.processor.apply(logits)
        return {name: left[i] for i, name in enumerate(self.names)}

    def drawn(self, name, token):
        self.texts[name][1].append(token)


class SecondHost:
    """Keeps requests in slots that are used again, and lines them up anew at each step."""

    def __init__(self, kind):
        self.tokens = torch.full((8, 64), -1, dtype=torch.int32)
        self.prompts, self.to_read = (SimpleNamespace(np=np.zeros(8, dtype=int)) for _ in "ab")
        states = SimpleNamespace(
            all_token_ids=SimpleNamespace(gpu=self.tokens),
            prompt_len=self.prompts,
            prefill_len=self.to_read,
        )
        self.processor = kind(SimpleNamespace(speculative_config=None), states)
        self.slots, self.lengths, self.free = {}, {}, list(range(8))

    def add(self, name, sampling, prompt):
        self.slots[name] = slot = self.free.pop()
        self.tokens[slot, : len(prompt)] = torch.tensor(prompt)
        self.lengths[name] = self.prompts.np[slot] = self.to_read.np[slot] = len(prompt)
        self.processor.add_request(slot, sampling)

    def remove(self, name):
        self.free.append(self.slots.pop(name))

    def swap(self, one, other):
        self.slots = dict(reversed(self.slots.items()))

    def step(self, logits_of):
        self.processor.apply_staged_writes()
        names = list(self.slots)
        context = SimpleNamespace(
            idx_mapping_np=np.array([self.slots[name] for name in names]),
            seq_lens_upper_bound_np=np.array([self.lengths[name] for name in names]),
        )
        left = self.processor.apply(torch.cat([logits_of[name] for name in names]), context)
        return {name: left[i] for i, name in enumerate(names)}

    def drawn(self, name, token):
        self.tokens[self.slots[name], self.lengths[name]] = token
        self.lengths[name] += 1


def hosts_of(kind, interface):
    hosts = {"first": FirstHost, "second": SecondHost}
    return [hosts[name](kind) for name in hosts if interface in (name, "both")]


def test_the_masks_are_those_of_transformers_step_by_step(processor):
    """Requests come, go and change places, each with a chain of its own, one with none."""
    for host in hosts_of(*processor):
        alone, texts = {}, {}
        generator = torch.Generator().manual_seed(0)

        def join(name, chain, host=host, alone=alone, texts=texts):
            prompt = [5, 6, 7, 5, 6]
            host.add(name, params(chain), prompt)
            alone[name] = (chain or SamplingChain([])).logits_processors()
            texts[name] = prompt

        for name, text in enumerate(CHAINS):
            join(name, SamplingChain.parse(text))
        join("same", SamplingChain.parse(CHAINS[0]))
        join("plain", None)
        for step in range(9):
            if step == 3:
                host.remove(1)
                del texts[1]
            if step == 4:
                host.swap(2, "same")
            if step == 5:
                join("in the place of 1", None)
            if step == 6:
                join(1, SamplingChain.parse(CHAINS[2]))
            logits = {n: 3 * torch.randn(1, VOCABULARY, generator=generator) for n in texts}
            found = host.step({name: z.clone() for name, z in logits.items()})
            assert found.keys() == texts.keys()
            for name, z in logits.items():
                expected = alone[name](torch.tensor([texts[name]]), z)[0]
                assert torch.equal(found[name] > OUT, expected > OUT), (name, step)
                torch.testing.assert_close(found[name], expected)
                token = int(found[name].softmax(-1).multinomial(1, generator=generator))
                texts[name] = [*texts[name], token]
                host.drawn(name, token)


def test_frequencies_are_those_of_the_formula():
    """XTC at a probability of .5: every request tosses its own coins, seeded or not."""
    z = torch.tensor([2.0, 1.6, 0.5, -1.0, -4.0])
    chain = SamplingChain.parse("temperature=2,top_k=4,xtc=0.2:0.5")
    p = (z / 2).softmax(-1)
    p[4] = 0
    p /= p.sum()  # .38 .31 .18 .08 are .397 .325 .188 .089: two are likely enough
    rest = p.clone()
    rest[0] = 0
    expected = 0.5 * p + 0.5 * rest / rest.sum()
    rows = adapter.ChainRows()
    for slot in range(1000):
        rows.put(slot, params(chain, seed=slot if slot % 2 else None))
    counts = torch.zeros(5)
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        left = rows.apply(
            z.repeat(1000, 1),
            range(1000),
            history=lambda row: torch.zeros(1).long(),
            written=lambda row, step=step: step,
        )
        drawn = left.softmax(-1).multinomial(1, generator=generator)
        counts += torch.bincount(drawn[:, 0], minlength=5)
    assert counts[4] == 0
    assert (counts / 3000 - expected).abs().sum() < 0.06


def one_step(rows, z, written, slots=None):
    """One step of rows whose chains need no history."""
    slots = range(len(z)) if slots is None else slots
    return rows.apply(z.clone(), slots, history=None, written=lambda row: written[row])


def test_codes_take_the_tokens_of_arithmetic_sampling(processor):
    """Siblings that join at different steps and sit anywhere still get each its own share."""
    chain = SamplingChain.parse("temperature=1.3,top_k=20")
    codes = arithmetic_codes(6, offset=0.15).tolist()
    for host in hosts_of(*processor):
        generator = torch.Generator().manual_seed(1)
        z = [3 * torch.randn(1, VOCABULARY, generator=generator) for _ in range(4)]
        drawn = {name: [] for name in range(6)}
        for step in range(6):
            if step < 3:  # two of them join at each of the first three steps
                for name in (2 * step, 2 * step + 1):
                    given = vllm_arguments(chain, code=codes[name])
                    host.add(name, SimpleNamespace(**given, seed=name), [5, 6])
            running = [n for n in drawn if n <= 2 * step + 1 and len(drawn[n]) < 4]
            for name in set(drawn) - set(running):
                if len(drawn[name]) == 4:
                    host.remove(name)
                    drawn[name].append("gone")
            found = host.step({n: z[len(drawn[n])].clone() for n in running})
            for name, row in found.items():
                assert (row > OUT).sum() == 1
                drawn[name].append(int(row.argmax()))
                host.drawn(name, drawn[name][-1])
        here = torch.tensor(codes, dtype=torch.float64)
        for at in range(4):
            left = chain.logits_processors()(torch.zeros(6, 0), z[at].repeat(6, 1))
            tokens, here, _ = arithmetic_step(left, here)
            assert [drawn[name][at] for name in range(6)] == tokens.tolist()


def test_a_step_whose_token_is_thrown_away_changes_nothing():
    """While a long prompt is read in chunks, vLLM asks for tokens that it does not take."""
    z = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(2))
    chain = SamplingChain.parse("xtc=0.02:0.5")
    left = []
    for steps in ((0, 0, 1, 1, 2), (0, 1, 2)):
        rows = adapter.ChainRows()
        for slot in range(20):
            rows.put(slot, SimpleNamespace(**vllm_arguments(chain, code=slot / 20), seed=slot))
        for count in steps:
            last = one_step(rows, z.repeat(20, 1), [count] * 20)
        left.append(last)
    assert torch.equal(*left)


def test_a_code_starts_afresh_after_a_preemption_and_when_it_is_spent():
    """Its first value would repeat what the text has used up already."""
    z = torch.zeros(1, 1024)
    firsts, laters = [], []
    for seed in range(200):
        rows = adapter.ChainRows()
        rows.put(0, SimpleNamespace(**vllm_arguments(SamplingChain([]), code=0.0), seed=seed))
        firsts.append(int(one_step(rows, z, [7]).argmax()))  # put anew after seven tokens
        # Of 2^-10 each, the third token brings the text below 2^-26.
        later = [int(one_step(rows, z, [written]).argmax()) for written in (0, 1, 2, 3)]
        assert later[:3] == [0, 0, 0]
        laters.append(later[3])
        fresh = (stable_seed(seed, "code", 3) >> 10) * 2.0**-53
        assert later[3] == int(fresh * 1024)
    for found in (firsts, laters):
        assert len(set(found)) > 150
        assert abs(sum(found) / 200 - 511.5) < 90  # 4 standard errors of 1024 / sqrt(12 * 200)


def test_a_part_of_a_prompt_is_left_alone(processor):
    """The second runner asks for rows of prompts that it has not read to the end."""
    kind, interface = processor
    if interface == "first":
        pytest.skip("the first runner does not say")
    host = SecondHost(kind)
    host.add("a", params(SamplingChain.parse("mirostat2=1")), [5, 6, 7])
    host.to_read.np[host.slots["a"]] = 4
    z = torch.randn(1, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(host.step({"a": z.clone()})["a"], z[0])
    host.drawn("a", 3)
    assert (host.step({"a": z.clone()})["a"] == OUT).any()


def test_samples_of_a_prompt_carry_what_the_engine_sends():
    sampling = Sampling(temperature=0.7, top_p=0.9)
    asked = {"tokenizer": None, "seed": 11}
    siblings = ArithmeticSampling().vllm_requests(4, sampling, **asked)
    codes = sorted(each["extra_args"][CODE] for each in siblings)
    assert [b - a for a, b in pairwise(codes)] == pytest.approx([0.25] * 3)
    assert {each["extra_args"][CHAIN] for each in siblings} == {written_chain(chain_of(sampling))}
    assert siblings == ArithmeticSampling().vllm_requests(4, sampling, **asked)
    other = ArithmeticSampling().vllm_requests(4, sampling, **asked | {"seed": 12})
    assert siblings[0]["extra_args"][CODE] != other[0]["extra_args"][CODE]
    fixed = ArithmeticSampling(offset=0.1).vllm_requests(2, sampling, **asked)
    assert [each["extra_args"][CODE] for each in fixed] == pytest.approx([0.1, 0.6])
    chain = SamplingChain.parse("top_k=4,temperature=2")
    assert chain.vllm_requests(2, Sampling(), **asked) == [vllm_arguments(chain)] * 2
    assert chain.vllm_processor == ArithmeticSampling.vllm_processor == PROCESSOR


def test_sampling_becomes_a_chain_in_the_order_of_the_hosts():
    assert chain_of(Sampling()).text == ""
    full = Sampling(temperature=0.5, top_k=9, top_p=0.8, min_p=0.1)
    assert chain_of(full).text == "temperature=0.5,top_k=9,top_p=0.8,min_p=0.1"


def test_a_chain_is_written_and_read_with_its_token_ids():
    chain = SamplingChain([XTC(0.2, 0.3, protected=(4, 9)), TopNSigma(math.inf)])
    assert read_chain(written_chain(chain)) == chain
    for text in CHAINS:
        assert read_chain(written_chain(SamplingChain.parse(text))) == SamplingChain.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "must be what written_chain returns"),
        ('[["nothing", {}]]', "must be what written_chain returns"),
        ('[["top_k", {"c": 1}]]', "must be what written_chain returns"),
        ('[["top_k", 5, 6]]', "must be what written_chain returns"),
        ("top_k=5", "must be what written_chain returns"),
        ('[["top_k", {"k": 0}]]', "k must be at least 1"),
    ],
)
def test_what_is_no_chain_is_refused_at_the_door(processor, text, message):
    with pytest.raises(ValueError, match=message):
        processor[0].validate_params(SimpleNamespace(extra_args={CHAIN: text}))


@pytest.mark.parametrize(
    ("extra", "options", "message"),
    [
        ({CHAIN: 5}, {}, "must be what written_chain returns"),
        ({CODE: 0.5}, {}, "needs a sampling_chain beside it"),
        ({CHAIN: "[]", CODE: 1.0}, {}, r"must be a number in \[0, 1\), got 1.0"),
        ({CHAIN: "[]", CODE: "0.5"}, {}, r"must be a number in \[0, 1\), got '0.5'"),
        ({CHAIN: "[]", CODE: True}, {}, r"must be a number in \[0, 1\), got True"),
        ({CHAIN: "[]", CODE: math.nan}, {}, r"must be a number in \[0, 1\), got nan"),
        ({CHAIN: "[]", CODE: 0.5}, {"n": 3}, "send 3 requests, got n=3"),
    ],
)
def test_a_code_that_says_nothing_is_refused_at_the_door(processor, extra, options, message):
    with pytest.raises(ValueError, match=message):
        processor[0].validate_params(params(extra_args=extra, **options))


def test_sampling_beside_a_chain_is_refused_at_the_door(processor):
    validate = processor[0].validate_params
    chain = SamplingChain.parse("top_k=5")
    validate(params(chain))
    validate(params(chain, top_k=-1))
    validate(params(temperature=0.3))
    for option in ({"temperature": 0.0}, {"top_p": 0.9}, {"repetition_penalty": 1.1}):
        with pytest.raises(ValueError, match=f"make {option} a step of it".replace(".", r"\.")):
            validate(params(chain, **option))


def test_what_it_cannot_serve_is_refused(processor):
    kind, interface = processor
    with pytest.raises(ValueError, match="speculative decoding"):
        kind(SimpleNamespace(speculative_config=object()), torch.device("cpu"), False)
    for host in hosts_of(kind, interface):
        host.add("a", params(SamplingChain.parse("dry")), [5, 6])
        if isinstance(host, FirstHost):
            host.drawn("a", -1)
            with pytest.raises(ValueError, match="switch async scheduling off"):
                host.step({"a": torch.zeros(1, 9)})
        else:
            with pytest.raises(ValueError, match="speculative decoding"):
                host.step({"a": torch.zeros(2, 9)})


def test_it_changes_what_is_likeliest(processor):
    assert hosts_of(*processor)[0].processor.is_argmax_invariant() is False


def test_without_vllm_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(vars(adapter), "ChainProcessor", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match="pip install vllm"):
        _ = adapter.ChainProcessor
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = adapter.Nothing
