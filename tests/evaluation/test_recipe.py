"""The recipe of a report: the revision of an embedder is part of it, and a silent one is no other."""

import json
from functools import partial

import pytest

from diversify.evaluation import compare, evaluate, load_report, load_run
from diversify.evaluation.recipe import RECIPE_FIELDS, differing_fields
from diversify.kernels import EmbeddingKernel


class Revised:
    name = "table"

    def __init__(self, embedder, revision):
        self.embedder, self.revision = embedder, revision

    def __call__(self, texts):
        return self.embedder(texts)


def save(folder, embedder):
    rows = [{"prompt": f"Name {i}.", "generations": ["a cat", "a dog", "so"]} for i in range(8)]
    folder.mkdir()
    (folder / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate(load_run(folder / "g.jsonl"), embedder=embedder).save(folder)
    return folder


def forget_revisions(folder):
    """What a report of an older release says of its kernels."""
    summary = json.loads((folder / "report.json").read_text())
    for kernel in summary["config"]["recipe"]["kernels"]:
        kernel["revision"] = ""
    (folder / "report.json").write_text(json.dumps(summary))
    return folder


def test_the_revision_of_the_embedder_is_on_record(tmp_path, tiny_embedder):
    report = load_report(save(tmp_path / "a", Revised(tiny_embedder, "abc123")))
    assert report.recipe["kernels"] == [
        {"name": "table", "revision": "abc123"},
        {"name": "ngram-2", "revision": ""},
    ]


def test_an_embedder_that_does_not_say_has_none():
    assert EmbeddingKernel(lambda texts: texts).revision == ""
    assert EmbeddingKernel(partial(max)).revision == ""


def test_two_revisions_are_two_rulers(tmp_path, tiny_embedder):
    a, b = (save(tmp_path / name, Revised(tiny_embedder, name)) for name in ("r1", "r2"))
    with pytest.raises(ValueError, match=r"one recipe: kernels: .*'r1'.* against .*'r2'"):
        compare(a, b, resamples=50)
    c = save(tmp_path / "again", Revised(tiny_embedder, "r1"))
    assert compare(a, c, resamples=50).measures["vendi,table"].difference == 0.0


def test_an_older_report_that_does_not_say_is_loaded_and_compared(tmp_path, tiny_embedder):
    a, b = (save(tmp_path / name, Revised(tiny_embedder, name)) for name in ("r1", "r2"))
    assert load_report(forget_revisions(a)).recipe["kernels"][0]["revision"] == ""
    assert compare(a, b, resamples=50).measures["vendi,table"].difference == 0.0


@pytest.mark.parametrize("field", RECIPE_FIELDS)
def test_every_field_counts(field):
    kernels = [{"name": "minilm", "revision": "1"}]
    recipe = {name: 1 for name in RECIPE_FIELDS} | {"kernels": kernels}
    other = recipe | {field: [{"name": "words", "revision": "1"}] if field == "kernels" else 2}
    assert differing_fields(recipe, recipe) == []
    assert differing_fields(recipe, other) == [field]
    assert differing_fields(recipe, recipe | {field: None}) == [field]


def test_fewer_kernels_are_another_ruler():
    one, two = ([{"name": n, "revision": ""} for n in names] for names in ("a", "ab"))
    assert differing_fields({"kernels": one}, {"kernels": two}) == ["kernels"]
    assert differing_fields({"kernels": one}, {"kernels": one}) == []
