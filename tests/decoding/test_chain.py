"""A chain runs as it is written, with nothing of the host's beside it, and converts exactly or not."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from diversify.cli import main
from diversify.decoding import SamplingChain
from diversify.decoding.chain import BREAKERS, NEUTRAL
from diversify.decoding.steps import STEPS, parse_step, rescaled, step_text
from diversify.decoding.warpers import (
    DRY,
    EDT,
    XTC,
    MinK,
    Mirostat2,
    PLess,
    PLessNorm,
    TopH,
    TopNSigma,
    token_ids_with,
)
from diversify.decoding.warpers.hosts import Epsilon, Eta, MinP, Temperature, TopK, TopP, Typical
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import chat_token_ids, load_model

OUT = -math.inf
PROMPTS = ["name a red animal", "the"]
SHORT = Sampling(max_tokens=6)


@pytest.fixture
def hostile(tiny_model_path, tmp_path):
    """The same model, whose own settings say everything that a chain must not inherit."""
    folder = shutil.copytree(tiny_model_path, tmp_path / "hostile")
    file = folder / "generation_config.json"
    settings = {
        "do_sample": True,
        "temperature": 0.1,
        "top_k": 2,
        "top_p": 0.2,
        "min_p": 0.5,
        "top_h": 0.3,
        "typical_p": 0.4,
        "epsilon_cutoff": 0.3,
        "eta_cutoff": 0.3,
        "repetition_penalty": 3.0,
        "no_repeat_ngram_size": 2,
        "exponential_decay_length_penalty": [1, 1.5],
        "sequence_bias": [[[7], 9.0]],
        "guidance_scale": 2.0,
        "renormalize_logits": True,
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return load_model(folder, dtype="float32", device="cpu")


def processors_of(model, **arguments):
    """What `generate` is about to run: asked in its own loop, which ends at once."""
    found = []

    def look(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        found.extend(logits_processor)
        return input_ids

    model.generate(torch.tensor([[5, 6]]), custom_generate=look, max_new_tokens=1, **arguments)
    return found


def after(chain, logits, ids=None):
    ids = torch.zeros(len(logits), 1, dtype=torch.long) if ids is None else ids
    return chain.logits_processors()(ids, logits)


def random_rows(seed, rows=16, vocabulary=300):
    generator = torch.Generator().manual_seed(seed)
    widths = torch.linspace(0.5, 5.0, rows, dtype=torch.float64).unsqueeze(-1)
    return widths * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)


class TestText:
    TEXTS = (
        ("temperature=0.8,top_n_sigma=1.0,xtc=0.1:0.5", None),
        (" top_k = 40 , top_p=0.9,temperature = 1", "top_k=40,top_p=0.9,temperature=1.0"),
        ("dry", "dry=0.8:1.75:2"),
        ("dry=1:1.5:3:512,min_k", "dry=1.0:1.5:3:512,min_k=3.0"),
        ("p_less", None),
        ("edt=0.9,mirostat2=3", "edt=0.9:1.0:0.8,mirostat2=3.0:0.1"),
        ("", None),
    )

    @pytest.mark.parametrize(("text", "written"), TEXTS)
    def test_is_read_and_written(self, text, written):
        chain = SamplingChain.parse(text)
        assert chain.text == (text if written is None else written)
        assert SamplingChain.parse(chain.text) == chain

    def test_every_step_has_one(self):
        needs = {"temperature": "0.7", "top_k": "5", "top_p": "0.9", "min_p": "0.1"}
        needs |= {"typical": "0.9", "epsilon": "0.01", "eta": "0.01"}
        for name, kind in STEPS.items():
            step = parse_step(f"{name}={needs[name]}" if name in needs else name)
            assert type(step) is kind
            assert parse_step(step_text(step)) == step

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("temprature=1", "a chain is made of temperature, top_k, .*, got 'temprature'"),
            ("temperature", "temperature is written temperature=temperature, got 'temperature'"),
            ("top_k=a", "top_k takes a number for k, got 'a'"),
            ("top_k=1.5", "top_k takes a number for k, got '1.5'"),
            ("xtc=0.1:0.5:3", "xtc is written xtc=threshold:probability, got 'xtc=0.1:0.5:3'"),
            ("p_less=1", "p_less is written p_less without a number, got 'p_less=1'"),
            ("xtc=2", r"threshold must be a number in \(0.0, 0.5\], got 2.0"),
            ("temperature=0", r"temperature must be a number in \(0.0, inf\), got 0.0"),
            ("top_k=0", "k must be at least 1, got 0"),
            ("top_p=0", r"p must be a number in \(0.0, 1.0\]"),
            ("min_p=1.1", r"p must be a number in \[0.0, 1.0\]"),
            ("typical=1", r"mass must be a number in \(0.0, 1.0\)"),
            ("epsilon=0", r"epsilon must be a number in \(0.0, 1.0\)"),
            ("eta=1", r"epsilon must be a number in \(0.0, 1.0\)"),
        ],
    )
    def test_that_cannot_be_read_is_refused(self, text, message):
        with pytest.raises(ValueError, match=message):
            SamplingChain.parse(text)

    def test_a_printed_chain_shows_order_and_temperature(self):
        chain = SamplingChain.parse("dry,temperature=2,top_p=0.9,p_less")
        assert str(chain).splitlines() == [
            "1. dry: multiplier=0.8, base=1.75, allowed=2, window=None, breakers=()",
            "2. temperature: temperature=2.0",
            "3. top_p: p=0.9",
            "4. p_less",
            "draw (temperature 2.0 comes between)",
        ]
        assert str(SamplingChain([])) == "draw (temperature at 1)"

    def test_where_the_temperature_stands(self):
        for text, stands, value in (
            ("top_k=3", "nowhere", 1.0),
            ("temperature=2", "first", 2.0),
            ("temperature=2,top_k=3", "first", 2.0),
            ("top_k=3,temperature=2", "last", 2.0),
            ("top_k=3,temperature=2,p_less", "between", 2.0),
        ):
            chain = SamplingChain.parse(text)
            assert (chain.temperature_stands, chain.temperature) == (stands, value)

    def test_the_record_tells_any_two_chains_apart(self):
        ids = tuple(range(20))
        chains = [
            SamplingChain([]),
            SamplingChain([Temperature(0.7), TopK(3)]),
            SamplingChain([TopK(3), Temperature(0.7)]),
            SamplingChain([XTC(protected=(1,))]),
            SamplingChain([XTC(protected=ids)]),
            SamplingChain([XTC(protected=ids[1:])]),
            SamplingChain([DRY(breakers=ids)]),
        ]
        assert len({repr(chain) for chain in chains}) == len(chains)
        assert repr(chains[1]) == "SamplingChain([Temperature(temperature=0.7), TopK(k=3)])"
        assert "protected=<20 ids, " in repr(chains[4])


class TestConstruction:
    @pytest.mark.parametrize(
        ("steps", "message"),
        [
            ([Temperature(1.0), TopK(3), Temperature(2.0)], "got temperature twice"),
            ([TopK(3), TopK(4)], "every step once, got top_k twice"),
            ([Temperature(0.9), EDT()], "edt is a temperature itself"),
            ([Mirostat2(), Temperature(0.9)], "mirostat2 must come last.*mirostat2, temperature"),
            ([TopNSigma], "a chain is made of temperature, .*, got <class"),
            (["top_k=3"], "a chain is made of .* got 'top_k=3'"),
        ],
    )
    def test_impossible_chains_are_refused(self, steps, message):
        with pytest.raises(ValueError, match=message):
            SamplingChain(steps)

    def test_steps_run_in_their_order(self):
        """3 2 1 at T = 2 are .506 .307 .186; top-p .6 keeps two of them, of .665 .245 .09 one."""
        z = torch.tensor([[3.0, 2.0, 1.0]])
        first = after(SamplingChain.parse("temperature=2,top_p=0.6"), z)
        last = after(SamplingChain.parse("top_p=0.6,temperature=2"), z)
        assert first.tolist() == [[1.5, 1.0, OUT]]
        assert last.tolist() == [[1.5, OUT, OUT]]


class TestConversion:
    def test_min_p_by_hand(self):
        """Temperature first at T = 2, .1 is .1^2 = .01 in terms of T = 1; and back, sqrt(.01) = .1."""
        first = SamplingChain.parse("temperature=2,min_p=0.1")
        last = SamplingChain.parse("min_p=0.01,temperature=2")
        assert first.temperature_last().steps[0].p == pytest.approx(0.01)
        assert last.temperature_first().steps[1].p == pytest.approx(0.1)

    def test_published_min_p(self):
        """L = 4 3 2 1 0 -2, min-p .1: three stay at T = 1, five with T = 2 before, all with T = 3."""
        z = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0, -2.0]])
        for temperature, count in ((1.0, 3), (2.0, 5), (3.0, 6)):
            first = SamplingChain([Temperature(temperature), MinP(0.1)])
            for chain in (first, first.temperature_last()):
                assert (after(chain, z) > OUT).sum() == count
            last = SamplingChain([MinP(0.1), Temperature(temperature)])
            for chain in (last, last.temperature_first()):
                assert (after(chain, z) > OUT).sum() == 3

    @pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7, 4.0])
    @pytest.mark.parametrize(
        "steps",
        [
            [TopK(7)],
            [TopNSigma(1.2)],
            [MinP(0.05)],
            [MinK(0.0)],
            [MinK(60.0)],
            [DRY(allowed=1), MinP(0.02)],
            [DRY(allowed=1), TopK(30), MinP(0.02), TopNSigma(1.5), MinK(9.0)],
        ],
        ids=lambda steps: "+".join(type(step).__name__ for step in steps),
    )
    def test_keeps_exactly_the_same_tokens_at_the_same_probabilities(self, steps, temperature):
        ids = torch.randint(0, 9, (16, 40), generator=torch.Generator().manual_seed(1))
        z = random_rows(0)
        first = SamplingChain([Temperature(temperature), *steps])
        last = SamplingChain([*steps, Temperature(temperature)])
        middle = SamplingChain([steps[0], Temperature(temperature), *steps[1:]])
        for chain in (first, last, middle):
            expected = after(chain, z, ids)
            assert 16 < (expected > OUT).sum() < 16 * 300 or temperature != 1.0
            for other, stands in (
                (chain.temperature_first(), 0),
                (chain.temperature_last(), len(steps)),
            ):
                assert isinstance(other.steps[stands], Temperature)
                found = after(other, z, ids)
                assert torch.equal(found > OUT, expected > OUT)
                torch.testing.assert_close(found.softmax(-1), expected.softmax(-1))

    def test_the_order_does_matter(self):
        """Without a conversion the same numbers keep other tokens, or the test above shows nothing."""
        z = random_rows(0)
        for step in (MinP(0.05), MinK(60.0)):
            first = after(SamplingChain([Temperature(4.0), step]), z) > OUT
            last = after(SamplingChain([step, Temperature(4.0)]), z) > OUT
            assert not torch.equal(first, last)

    @pytest.mark.parametrize(
        "step",
        [TopP(0.9), Typical(0.9), Epsilon(0.01), Eta(0.01), PLess(), PLessNorm(), TopH(), XTC()],
        ids=lambda step: type(step).__name__,
    )
    def test_what_has_no_equivalent_is_refused(self, step):
        name = step_text(step).partition("=")[0]
        for chain, convert in (
            (SamplingChain([step, Temperature(2.0)]), "temperature_first"),
            (SamplingChain([Temperature(2.0), step]), "temperature_last"),
        ):
            with pytest.raises(ValueError, match=f"{name} has no exact equivalent on the other"):
                getattr(chain, convert)()

    def test_what_need_not_move_is_left_alone(self):
        first = SamplingChain([Temperature(2.0), TopP(0.9)])
        assert first.temperature_first() == first
        assert SamplingChain([TopP(0.9), Temperature(2.0)]).temperature_last().steps[0] == TopP(0.9)
        plain = SamplingChain([TopP(0.9)])
        assert plain.temperature_first() is plain is plain.temperature_last()
        one = SamplingChain([TopP(0.9), Temperature(1.0)])
        assert one.temperature_first().steps == (Temperature(1.0), TopP(0.9))

    def test_refuses_an_impossible_temperature(self):
        with pytest.raises(ValueError, match="temperature must be a number"):
            rescaled(MinP(0.1), 0.0)


class TestInTransformers:
    CHAIN = SamplingChain.parse("temperature=1.5,top_n_sigma=1.2,xtc=0.2:0.5")

    def test_nothing_but_the_chain_runs(self, hostile):
        assert len(processors_of(hostile.model)) > 10, "the model's own settings do something"
        found = processors_of(hostile.model, **self.CHAIN.generate_arguments())
        assert [type(p) for p in found] == [Temperature, TopNSigma, XTC]

    def test_the_engine_hides_the_model_s_settings_too(self, loaded, hostile):
        texts = [
            TransformersEngine(model, decoder=self.CHAIN).generate(PROMPTS, 9, SHORT).texts
            for model in (loaded, hostile)
        ]
        assert texts[0] == texts[1]

    def test_the_host_alone_would_run_these(self, loaded, hostile):
        """The hidden top_k = 50, and the order, read from a config as `generate` builds it."""
        for options in (
            {},
            {"temperature": 0.7, "top_p": 0.9},
            {"top_k": 0},
            {"top_k": 7, "min_p": 0.1, "typical_p": 0.5, "epsilon_cutoff": 0.1, "eta_cutoff": 0.2},
        ):
            chain = SamplingChain.from_generation_config(GenerationConfig(**options))
            hosts = processors_of(loaded.model, do_sample=True, **options)
            z = random_rows(3).float()
            expected = z
            for host, step in zip(hosts, chain.steps, strict=True):
                assert type(host).__name__.startswith(type(step).__name__)
                expected = host(None, expected)
            assert torch.equal(after(chain, z), expected)
        with pytest.raises(ValueError, match=r"no chain can say.*'top_h': 0\.3"):
            SamplingChain.from_generation_config(hostile.model.generation_config)
        config = GenerationConfig(repetition_penalty=1.2, num_beams=2)
        with pytest.raises(ValueError, match=r"num_beams.*repetition_penalty"):
            SamplingChain.from_generation_config(config)

    def test_neutral_options_are_no_samplers(self):
        assert SamplingChain.from_generation_config(GenerationConfig(**NEUTRAL)).steps == ()

    def test_frequencies_and_the_exact_mask(self, loaded):
        """The first token, 6000 times: as often as the formulas say, and never one that is out."""
        chat = chat_token_ids(loaded.tokenizer, [{"role": "user", "content": "the"}])
        ids = torch.tensor([chat])
        with torch.inference_mode():
            z = loaded.model(ids).logits[0, -1].double().numpy() / 1.5
        chance = np.exp(z - z.max()) * (z >= z.max() - 1.2 * z.std())
        chance /= chance.sum()
        likely = np.flatnonzero(chance >= 0.05)
        assert len(likely) >= 2, "or XTC has nothing to do here"
        rest = chance.copy()
        rest[np.delete(likely, chance[likely].argmin())] = 0.0
        expected = 0.5 * chance + 0.5 * rest / rest.sum()
        chain = SamplingChain.parse("temperature=1.5,top_n_sigma=1.2,xtc=0.05:0.5")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            drawn = loaded.model.generate(
                ids,
                num_return_sequences=6000,
                max_new_tokens=1,
                **chain.generate_arguments(),
            )[:, -1]
        found = np.bincount(drawn.numpy(), minlength=len(z)) / 6000
        assert not found[expected == 0].any()
        assert np.abs(found - expected).sum() < 0.06

    def test_handing_processors_to_generate_is_not_the_same(self, loaded):
        """The trap: the host's temperature comes after ours, and top_k = 50 with it."""
        found = processors_of(
            loaded.model, do_sample=True, temperature=2.0, logits_processor=[TopNSigma(1.0)]
        )
        names = [type(p).__name__ for p in found]
        assert names == ["TopNSigma", "TemperatureLogitsWarper", "TopKLogitsWarper"]


class TestInTheEngine:
    def test_says_the_same_as_plain_sampling(self, loaded):
        """A chain in the host's order, and the same options in `Sampling`: text for text."""
        chain = SamplingChain.parse("temperature=1.4,top_k=20,top_p=0.95,min_p=0.02")
        sampling = SHORT.at(temperature=1.4, top_k=20, top_p=0.95, min_p=0.02)
        for n in (2, 9):
            by_chain = TransformersEngine(loaded, decoder=chain).generate(PROMPTS, n, SHORT)
            assert by_chain.texts == TransformersEngine(loaded).generate(PROMPTS, n, sampling).texts

    @pytest.mark.parametrize("text", ["xtc=0.05:0.5", "mirostat2=2", "dry=5:1.75:1,top_h=0.9"])
    def test_no_state_outlives_a_call(self, loaded, text):
        plain = TransformersEngine(loaded).generate(PROMPTS, 9, SHORT)
        engine = TransformersEngine(loaded, decoder=SamplingChain.parse(text))
        first = engine.generate(PROMPTS, 9, SHORT)
        assert first.texts != plain.texts
        assert engine.generate(PROMPTS[::-1], 9, SHORT).texts == first.texts[::-1]
        assert engine.generate(PROMPTS, 9, SHORT.at(seed=1)).texts != first.texts

    def test_every_call_gets_processors_of_its_own(self):
        chain = SamplingChain([XTC(probability=1.0), Mirostat2()])
        first = chain(1, 2)["logits_processor"]
        first(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 4))
        assert first[1].state is not None
        assert chain(1, 2)["logits_processor"][1].state is None
        assert chain.generate_arguments()["logits_processor"][1].state is None
        assert chain.steps[1].state is None

    def test_an_empty_chain_is_plain_sampling(self, loaded):
        chain = SamplingChain([])
        assert (
            TransformersEngine(loaded, decoder=chain).generate(PROMPTS, 9, SHORT).texts
            == TransformersEngine(loaded).generate(PROMPTS, 9, SHORT).texts
        )

    def test_is_on_record(self, loaded):
        chain = SamplingChain.parse("temperature=0.7,dry").for_tokenizer(loaded.tokenizer)
        identity = TransformersEngine(loaded, decoder=chain).identity
        assert identity["decoder"] == repr(chain)
        assert "Temperature(temperature=0.7), DRY(multiplier=0.8, " in identity["decoder"]
        json.dumps(identity)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temperature": 0.7}, r"make temperature=0.7 a step of the chain \(top_k=5\)"),
            ({"temperature": 0}, "temperature 0 is greedy and needs no chain"),
            ({"top_k": 5, "top_p": 0.9}, "make top_p=0.9, top_k=5 a step"),
            ({"min_p": 0.1}, "make min_p=0.1 a step"),
        ],
    )
    def test_sampling_beside_it_is_refused(self, loaded, options, message):
        engine = TransformersEngine(loaded, decoder=SamplingChain([TopK(5)]))
        with pytest.raises(ValueError, match=message):
            engine.generate(PROMPTS, 1, SHORT.at(**options))

    def test_token_ids_come_from_the_tokenizer_once(self, loaded):
        tokenizer = loaded.tokenizer
        chain = SamplingChain.parse("dry,top_k=5,xtc").for_tokenizer(tokenizer)
        dry, top_k, xtc = chain.steps
        assert dry.breakers == token_ids_with(tokenizer, BREAKERS)
        assert xtc.protected == token_ids_with(tokenizer, ["\n"])
        assert set(xtc.protected) < set(dry.breakers)
        assert top_k == TopK(5)
        own = SamplingChain([XTC(protected=(4,)), DRY(breakers=(5,))])
        assert own.for_tokenizer(tokenizer) == own

    def test_protected_ends_end_texts(self, loaded):
        """XTC that fires always takes a likely end away; protected, ends stay as they were."""
        end = loaded.tokenizer.eos_token_id
        z = torch.zeros(1, 50)
        z[0, end], z[0, 7], z[0, 8] = 6.0, 5.5, 5.0
        chain = SamplingChain([XTC(probability=1.0)])
        assert after(chain, z)[0, end] == OUT
        left = after(chain.for_tokenizer(loaded.tokenizer), z)
        assert left[0, end] == 6.0 and left[0, 7] == OUT and left[0, 8] == 5.0


class TestCommand:
    def arguments(self, model, prompts, output, *more):
        return [
            *("generate", "--model", str(model), "--prompts", str(prompts), "--samples", "2"),
            *("--max-tokens", "3", "--output", str(output), *more),
        ]

    def test_prints_the_chain_and_records_it(self, tiny_model_path, prompt_file, tmp_path, capsys):
        sampler = ["--sampler", "temperature=0.8,xtc"]
        assert main(self.arguments(tiny_model_path, prompt_file, tmp_path / "run", *sampler)) == 0
        shown = capsys.readouterr().out
        assert "1. temperature: temperature=0.8\n2. xtc: threshold=0.1" in shown
        settings = json.loads((tmp_path / "run/run.json").read_text())
        assert "XTC(threshold=0.1, probability=0.5, protected=" in settings["engine"]["decoder"]
        assert "protected=()" not in settings["engine"]["decoder"]
        other = ["--sampler", "temperature=0.9,xtc"]
        assert main(self.arguments(tiny_model_path, prompt_file, tmp_path / "run", *other)) == 1

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--sampler", "topk=5"], "got 'topk'"),
            (["--sampler", "top_k=5", "--temperature", "0.7"], "make temperature=0.7 a step"),
        ],
    )
    def test_mistakes_cost_no_model(self, prompt_file, tmp_path, capsys, more, message):
        assert main(self.arguments("no-such-model", prompt_file, tmp_path / "run", *more)) == 1
        assert message in capsys.readouterr().err
