"""A finished run as an engine: the same answers as the engine would give, and never other ones."""

from dataclasses import replace

from diversify.decoding import Direct, OverGenerate
from diversify.engines import Sampling
from diversify.evaluation import generate
from diversify.evaluation.studies.recorded import Recorded
from diversify.kernels import NgramKernel


class Counting:
    """An engine that counts tokens and calls; its texts say what they were drawn with."""

    def __init__(self):
        self.calls = 0

    identity = {"model": "counting"}  # noqa: RUF012

    def generate(self, prompts, n, sampling):
        from diversify.engines import Generations

        self.calls += 1
        texts = [
            [f"{prompt} {i} at {sampling.temperature:g}" for i in range(n)] for prompt in prompts
        ]
        details = [{"tokens": {"read": 3, "written": 4 * n}} for _ in prompts]
        return Generations(
            list(prompts), texts, [[i == 0 for i in range(n)] for _ in prompts], details
        )


def recorded(prompts, folder, samples=8):
    engine = Counting()
    run = generate(engine, prompts, samples, sampling=Sampling(), output=folder)
    engine.calls = 0
    return engine, Recorded(engine, run)


def test_the_same_question_is_looked_up(prompts, tmp_path):
    engine, again = recorded(prompts, tmp_path / "run")
    asked = [row.prompt for row in prompts][3:5]
    found = again.generate(asked, 8, Sampling())
    assert engine.calls == 0 and again.identity == engine.identity
    assert found == Counting().generate(asked, 8, Sampling())


def test_a_selection_from_a_recorded_pool_is_the_selection_from_a_drawn_one(prompts, tmp_path):
    engine, again = recorded(prompts, tmp_path / "run")
    asked = [row.prompt for row in prompts]
    strategy = OverGenerate(4, kernel=NgramKernel(), strategy=Direct())
    looked_up = strategy(again, asked, 2, Sampling())
    assert engine.calls == 0
    assert looked_up == strategy(engine, asked, 2, Sampling()) and engine.calls == 1


def test_anything_else_is_drawn(prompts, tmp_path):
    engine, again = recorded(prompts, tmp_path / "run")
    first = next(iter(prompts)).prompt
    for asked, n, sampling in (
        ([first], 4, Sampling()),
        ([first], 8, replace(Sampling(), temperature=0.5)),
        (["Another question."], 8, Sampling()),
        ([first, first], 8, Sampling()),
    ):
        engine.calls = 0
        assert again.generate(asked, n, sampling) == Counting().generate(asked, n, sampling)
        assert engine.calls == 1
