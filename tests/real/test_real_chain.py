"""The chain inside a real vLLM: the tokens that it keeps, how often they come, codes of siblings.

Run once on vLLM's first model runner and once on its second, whose kernels are interpreted.
"""

import math
import os
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from diversify.decoding import ArithmeticSampling, SamplingChain
from diversify.decoding.vllm import CHAIN, CODE, chain_of, vllm_arguments
from diversify.engines import Sampling, stable_seed

pytestmark = pytest.mark.vllm

PROMPT = "Name a colour."
CHAINS = (
    "temperature=0.9,min_p=0.05",
    "temperature=1.5,top_n_sigma=1",
    "temperature=1.2,top_h=0.4",
    "temperature=0.7,top_p=0.95,xtc=0.02:0.5",
    "min_k=30,temperature=1.4",
    "p_less",
    "edt=1.0:1.0:0.8,top_k=200",
    "dry=2:1.75:1,temperature=0.8,top_k=100",
    "temperature=1.5,mirostat2=4",
)
SEED = 77
INTERPRETED = os.environ.get("VLLM_USE_V2_MODEL_RUNNER", "0") == "1"
DRAWS = 300 if INTERPRETED else 1500


def test_it_is_the_runner_that_was_asked_for(random_engine):
    assert random_engine._llm.llm_engine.vllm_config.use_v2_model_runner is INTERPRETED


def run(engine, ids, arguments, steps, *, seed=SEED, logits=True):
    """Return the tokens of one request and the logits (steps, vocabulary) they were drawn from."""
    wanted = {"logprobs": -1} if logits else {}
    params = engine._params(**arguments, **wanted, max_tokens=steps, seed=seed, ignore_eos=True)
    (output,) = engine._llm.generate([{"prompt_token_ids": ids}], params, use_tqdm=False)
    (found,) = output.outputs
    rows = []
    for given in found.logprobs or ():
        row = torch.full((len(engine.tokenizer),), -math.inf)
        row[list(given)] = torch.tensor([each.logprob for each in given.values()])
        rows.append(row)
    return list(found.token_ids), rows


def raw(engine, ids):
    """The model's own logits after these tokens, from the same vLLM."""
    return run(engine, ids, vllm_arguments(SamplingChain([])), 1)[1][0]


def processors_of(chain, written):
    """The chain's processors, with the coins that a request with `SEED` has at this place."""
    coins = torch.Generator().manual_seed(stable_seed(SEED, "coins", written))
    processors = chain.logits_processors()
    for processor in processors:
        if hasattr(processor, "generator"):
            object.__setattr__(processor, "generator", coins)
    return processors


@pytest.mark.parametrize("text", CHAINS)
def test_it_keeps_the_tokens_that_transformers_keeps(random_engine, text):
    """Four steps of a text: the same logits through the chain here and in vLLM."""
    chain = SamplingChain.parse(text).for_tokenizer(random_engine.tokenizer)
    ids = random_engine.token_ids(PROMPT)
    tokens, found = run(random_engine, ids, vllm_arguments(chain), 4)
    remembers = chain.logits_processors()
    removed = 0
    for step, row in enumerate(found):
        logits = raw(random_engine, ids + tokens[:step])
        so_far = torch.tensor([ids + tokens[:step]])
        processors = processors_of(chain, step) if "xtc" in text else remembers
        expected = processors(so_far, logits.unsqueeze(0).clone())[0]
        assert torch.equal(row > -math.inf, expected > -math.inf), step
        torch.testing.assert_close(row, expected, atol=1e-3, rtol=1e-4)
        assert row[tokens[step]] > -math.inf
        removed += int((row == -math.inf).sum()) + int((row != logits).sum())
    assert removed > 0


@pytest.mark.parametrize("text", CHAINS)
def test_tokens_come_as_often_as_the_formula_says(random_engine, text):
    """First tokens of many requests; those expected fewer than five times are one class."""
    chain = SamplingChain.parse(text).for_tokenizer(random_engine.tokenizer)
    logits = raw(random_engine, random_engine.token_ids(PROMPT)).unsqueeze(0)
    ids = torch.tensor([random_engine.token_ids(PROMPT)])
    if "xtc" in text:  # half of the time it takes the top choices away
        ways = [text.replace(":0.5", f":{probability}") for probability in ("0.0", "1.0")]
        made = [SamplingChain.parse(way).for_tokenizer(random_engine.tokenizer) for way in ways]
    else:
        made = [chain]
    left = [each.logits_processors()(ids, logits.clone()).double().softmax(-1)[0] for each in made]
    expected = DRAWS * sum(left) / len(left)
    counts = first_tokens(random_engine.with_sampler(chain), DRAWS)
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    assert common.sum() >= 2
    seen = torch.cat([counts[common], counts[~common].sum().unsqueeze(0)]).double()
    due = torch.cat([expected[common], expected[~common].sum().unsqueeze(0)]).double()
    if due[-1] < 5:  # too rare for a class of its own
        seen, due = seen[:-1], due[:-1]
    assert chisquare(seen, due * (seen.sum() / due.sum())).pvalue > 1e-4


def first_tokens(engine, draws, sampling=None):
    requests = engine._requests([PROMPT], draws, sampling or Sampling(max_tokens=1, seed=3))
    prompts = [{"prompt_token_ids": engine.token_ids(PROMPT)}] * draws
    outputs = engine._llm.generate(prompts, requests, use_tqdm=False)
    counts = Counter(output.outputs[0].token_ids[0] for output in outputs)
    found = torch.zeros(len(engine.tokenizer))
    found[list(counts)] = torch.tensor([float(count) for count in counts.values()])
    return found


def test_codes_give_every_token_its_share(random_engine):
    """Of n siblings floor(n p) or ceil(n p) begin with a token of probability p."""
    sampling = Sampling(temperature=1.2, top_p=0.95, max_tokens=1)
    logits = raw(random_engine, random_engine.token_ids(PROMPT)).unsqueeze(0)
    chain = chain_of(sampling)
    p = chain.logits_processors()(torch.zeros(1, 0), logits).double().softmax(-1)[0]
    for n in (10, 64):
        counts = first_tokens(random_engine.with_sampler(ArithmeticSampling()), n, sampling)
        assert ((counts - n * p).abs() < 1 + 1e-3).all()
        assert counts.sum() == n


def test_codes_are_draws_from_the_model(random_engine):
    """One sibling each of many prompts: b is uniform, so the marginal is the model's."""
    sampling = Sampling(temperature=1.2, top_k=8, max_tokens=1)
    logits = raw(random_engine, random_engine.token_ids(PROMPT)).unsqueeze(0)
    p = chain_of(sampling).logits_processors()(torch.zeros(1, 0), logits).double().softmax(-1)[0]
    arithmetic = random_engine.with_sampler(ArithmeticSampling())
    drawn = arithmetic.generate([PROMPT] * (DRAWS // 3), 1, sampling)
    counts = Counter(text for row in drawn for text in row)
    top = p.topk(8)
    names = [random_engine.tokenizer.decode([i]).strip() for i in top.indices]
    assert len(set(names)) == 8
    seen = [counts[name] for name in names]
    assert sum(seen) == DRAWS // 3
    assert chisquare(seen, DRAWS // 3 * (top.values / top.values.sum()).double()).pvalue > 1e-4


def test_texts_of_codes_are_those_of_transformers(random_engine, random_reference):
    """The same b: the same codes, step by step, in another host."""
    from diversify.decoding.siblings.codes import arithmetic_codes

    sampling = Sampling(temperature=0.9, top_k=40, max_tokens=3)  # 26 bits are one code
    sampler = ArithmeticSampling(offset=0.3)
    found = random_engine.with_sampler(sampler).generate([PROMPT], 12, sampling)
    expected = random_reference.with_decoder(sampler).generate([PROMPT], 12, sampling)
    assert arithmetic_codes(12, offset=0.3)[0] == pytest.approx(0.3)
    same = sum(a == b for a, b in zip(found[0], expected[0], strict=True))
    assert same >= 10  # a code near the edge of an interval may fall to its neighbour
    assert len(set(found[0])) >= 8


@pytest.mark.parametrize(
    ("extra", "options", "message"),
    [
        ({CHAIN: "top_k=5"}, {}, "must be what written_chain returns"),
        ({CHAIN: "[]"}, {"temperature": 0.5}, "is all there is"),
        ({CHAIN: "[]", CODE: 1.5}, {}, r"must be a number in \[0, 1\)"),
        ({CHAIN: "[]", CODE: 0.5}, {"n": 2}, "send 2 requests"),
        ({CODE: 0.5}, {}, "needs a sampling_chain"),
    ],
)
def test_a_bad_request_is_refused_at_the_door_and_harms_no_other(
    random_engine, extra, options, message
):
    from vllm.exceptions import VLLMValidationError

    params = random_engine._params(extra_args=extra, max_tokens=1, **options)
    with pytest.raises(VLLMValidationError, match=message):
        random_engine._llm.generate([{"prompt_token_ids": [1, 2, 3]}], params, use_tqdm=False)
    assert random_engine.generate([PROMPT], 1, Sampling(max_tokens=2))[0][0] is not None
