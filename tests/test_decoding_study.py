"""The decoding study and its page: every way to decode is in it, and the numbers are those stored."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from importing import imported

from diversify.decoding.siblings import DECODERS
from diversify.decoding.steps import STEPS
from diversify.decoding.strategies import LATER, STRATEGIES

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs/decoding/study.yaml"
TUNED = ROOT / "configs/decoding/adapter.yaml"
PAGE = (ROOT / "docs/decoding.md").read_text("utf-8")
MARK = re.compile(r"<!-- ([\w-]+) -->(.*?)<!-- / -->", re.S)


@pytest.fixture(scope="module")
def decoding():
    with imported("eval/decoding.py") as module:
        yield module


@pytest.fixture(scope="module")
def study(decoding):
    return decoding.read_study(CONFIG)


@pytest.fixture(scope="module")
def tuned(decoding):
    return decoding.read_study(TUNED)


def stored(study):
    path = ROOT / study.results
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def test_every_way_to_decode_is_in_the_study(study, tuned):
    """Each sampler, decoder and strategy that has a name; temperature is swept, epsilon is in eta,
    and direct is plain sampling."""
    methods = study.methods.values()
    chains = ",".join(method.get("chain", "") for method in methods)
    assert set(re.findall(r"[a-z]\w+", chains)) == set(STEPS) - {"epsilon"}
    both = [*methods, *tuned.methods.values()]
    assert {method["decoder"] for method in both if "decoder" in method} == set(DECODERS)
    named = "+".join(method.get("strategy", "direct") for method in methods)
    assert set(named.split("+")) == {*STRATEGIES, *LATER}
    for config in (CONFIG, TUNED):
        assert config.read_text().splitlines()[0].endswith(str(config.relative_to(ROOT)))


def test_the_two_studies_ask_the_same(study, tuned):
    """Rows of one page: what is not named here is what both must share."""
    own = {"output", "results", "figure", "adapter", "pool", "methods"}
    first, second = ({k: v for k, v in vars(s).items() if k not in own} for s in (study, tuned))
    assert first == second


def test_every_method_has_a_row_with_what_was_measured(study, tuned):
    marks = [match[1] for match in MARK.finditer(PAGE)]
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and " --- " not in line]
    heads = sum(line.startswith("| method |") for line in rows)
    assert len(marks) == len(set(marks)) == len(rows) - heads
    of_tuned = {"tuned" if name == "plain" else name for name in tuned.methods}
    assert set(marks) == set(study.methods) | of_tuned
    assert not set(study.methods) & of_tuned
    assert set(study.methods) >= set(stored(study)) and set(tuned.methods) >= set(stored(tuned))
    assert {line.count(" | ") for line in rows} == {6}


def test_the_page_shows_the_results_that_are_stored(decoding, study, tuned, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    copy = tmp_path / "page.md"
    copy.write_text(PAGE)
    for one in (study, tuned):
        if stored(one):
            decoding.write_page(copy, decoding.page_results(one))
    assert copy.read_text() == PAGE


def test_the_page_says_what_the_config_does(study):
    for said in (
        f"{study.limit} held-out questions",
        f"{study.samples} answers of at most {study.max_tokens} tokens",
        f"{study.margin} below that of plain sampling at T {study.reference}",
        f"{study.pool} plain draws",
    ):
        assert said in PAGE.replace("\n", " "), said
    assert (len(study.temperatures), len(study.sweep)) == (3, 6)  # "three", "six"


def row(**changes):
    change = {"before": 2.0, "after": 2.5, "difference": 0.5, "ci95": [0.1, None]}
    gap = {"gap": -0.25, "ci95": [-0.5, 0.0], "p_value": 0.02}
    found = {
        "kind": "sampler",
        "falls_back": False,
        "temperatures": [0.6, 1.0],
        "kept_quality": True,
        "measure": "distinct_valid,answers",
        "quality": change | {"name": "valid_answer"},
        "measures": {
            "distinct_valid,answers": change | {"at_equal_quality": gap},
            "vendi,ngram-2": change,
        },
        "budget": change,
        "prompts": 32,
        "sees": [],
        "cost": {
            "answers": 16.0,
            "calls": 1.0,
            "written": 4.0,
            "read": 1.0,
            "passes": 1,
            "asked_plainly": 0.4,
        },
    }
    return found | changes


def test_a_cell_says_what_was_found_and_what_it_cost(decoding):
    assert decoding.cell(row(), 0.04).split("<br>") == [
        "T 0.6 and 1: valid answer 2.50 +0.50 [+0.10, +∞]",
        "different valid 2.50, at equal quality -0.25 [-0.50, +0.00] (p 0.04); "
        "at equal tokens +0.50 [+0.10, +∞]",
        "ngram-2 Vendi 2.50",
        "16 answers by 1 call; tokens: written 4.00, read 1.00",
    ]
    changed = row(kept_quality=False, sees=["ngram-2"], falls_back=True, budget=None)
    changed["cost"]["passes"] = 3
    told = decoding.cell(changed)
    for said in (
        "quality not kept",
        "ngram-2 Vendi 2.50, which it selects by",
        "3 passes a token",
        "40% of the answers asked for plainly",
    ):
        assert said in told
    assert "equal tokens" not in told and "(p " not in told
    told = decoding.cell(row(budget=row()["budget"] | {"capped": 3}))
    assert "+∞] (plain's pool ran out for 3 of 32 questions)" in told


def test_p_values_are_corrected_over_all_methods(decoding):
    """0.02 and 0.04 of two methods become 0.04 and 0.04; plain sampling is no question."""
    other = row()
    other["measures"] = json.loads(json.dumps(other["measures"]))
    other["measures"]["distinct_valid,answers"]["at_equal_quality"]["p_value"] = 0.04
    plain = row(measures={"distinct_valid,answers": {"after": 2.5}})
    found = decoding.corrected_values({"plain": plain, "a": row(), "b": other})
    assert found == pytest.approx({"a": 0.04, "b": 0.04})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": "x"}, r"unknown keys \['modle'\]"),
        ({"methods": {"top-p": {"chain": "top_p=0.9"}}}, "methods must have 'plain'"),
        ({"temperatures": [0.7]}, r"it lacks \[0.7\]"),
        ({"sweep": [0.6], "temperatures": [0.6]}, "two temperatures or more"),
        ({"pool": 4}, "pool must be at least samples"),
        ({"methods": {"plain": {}, "a": {"chian": "x"}}}, r"a: unknown keys \['chian'\]"),
        ({"methods": {"plain": {}, "a": {}}}, "a: a method is one of"),
        ({"methods": {"plain": {}, "a": {"chain": "", "decoder": "x"}}}, "a: a method is one of"),
        ({"methods": {"plain": {}, "a": {"chain": "none={T}"}}}, "a chain is made of"),
        ({"methods": {"plain": {}, "a": {"decoder": "none"}}}, "decoder must be one of"),
        ({"methods": {"plain": {}, "a": {"strategy": "none"}}}, "strategy must be one of"),
    ],
)
def test_a_study_that_does_not_hold_together_is_refused(decoding, tmp_path, change, message):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        decoding.read_study(path)


def test_kinds_follow_from_the_way(decoding, study, tuned):
    methods = tuned.methods | study.methods
    kinds = {name: decoding.kind(method) for name, method in methods.items()}
    assert kinds["plain"] == "plain" and kinds["xtc"] == "sampler" and kinds["g2"] == "siblings"
    assert kinds["routing"] == kinds["adapter-scale"] == kinds["arithmetic"] == "siblings"
    assert kinds["over-generate-dpp"] == kinds["until-seen"] == "selection"
    assert kinds["diverge-stratified"] == kinds["in-context"] == "strategy"


METHODS = {
    "plain": {},
    "min-p": {"chain": "temperature={T}, min_p=0.05"},
    "arithmetic": {"decoder": "arithmetic"},
    "routing": {"decoder": "routing", "options": {"threshold": 0.4}},
    "over-generate": {"strategy": "over-generate", "options": {"factor": 2}},
    "verbalized": {"strategy": "verbalized", "options": {"fill": True, "rounds": 1}},
}


@pytest.fixture
def small(decoding, tiny_model_path, tiny_embedder, tmp_path, monkeypatch):
    """A study of the tiny model; its answers name nothing, so lengths stand in for validity."""
    questions = tmp_path / "questions.jsonl"
    lines = [{"id": f"q{i}", "prompt": f"Name {i}.", "answers": [["a"], ["the"]]} for i in range(4)]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(decoding, "load_embedder", lambda name: tiny_embedder)
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {name} -->old<!-- / -->\n" for name in METHODS))
    return decoding.Study(
        output=str(tmp_path / "out"),
        results=str(tmp_path / "results/decoding.json"),
        page=str(page),
        figure=str(tmp_path / "figures/decoding.svg"),
        model=str(tiny_model_path),
        prompts=str(questions),
        split=None,
        methods=METHODS,
        temperatures=[0.5, 1.0],
        sweep=[0.5, 1.0],
        reference=0.5,
        samples=4,
        pool=8,
        max_tokens=4,
        gate=[],
        at_once=2,
        resamples=50,
    )


def test_a_small_study_from_end_to_end(decoding, small, capsys):
    decoding.run(small, None)
    said = capsys.readouterr().out
    assert "left out, since the config names no adapter: routing" in said
    results = json.loads(Path(small.results).read_text())
    assert list(results) == [name for name in METHODS if name != "routing"]
    assert results["over-generate"]["sees"] == ["hashing"]
    assert results["over-generate"]["cost"]["written"] > 1.5
    for name, found in results.items():
        assert found["prompts"] == 4 and found["cost"]["answers"] == 4, name
        gap = found["measures"]["distinct_valid,answers"].get("at_equal_quality")
        assert (gap is None) == (name == "plain")
    decoding.write_page(Path(small.page), results)
    page = Path(small.page).read_text()
    assert "<!-- routing -->old<!-- / -->" in page
    assert f"<!-- plain -->{decoding.cell(results['plain'])}<!-- / -->" in page
    decoding.write_figure(Path(small.figure), results)
    assert len(results) - 1 == Path(small.figure).read_text().count("data-method=")
    ElementTree.parse(small.figure)

    before = Path(small.results).read_bytes()
    drawn = {path: path.stat().st_mtime_ns for path in Path(small.output).rglob("*.json*")}
    decoding.run(small, ["min-p"])
    assert Path(small.results).read_bytes() == before
    assert {p: p.stat().st_mtime_ns for p in Path(small.output).rglob("*.json*")} == drawn
    with pytest.raises(ValueError, match=r"no methods \['none'\]"):
        decoding.run(small, ["none"])


@pytest.mark.slow
def test_every_method_of_the_config_decodes(decoding, study, small, capsys):
    """One temperature, two questions; what fails in the study's second hour fails here. The tiny
    model is its own reference for the gate."""
    changes = {"temperatures": [1.0], "limit": 2, "gate": study.gate, "pool": 16}
    decoding.run(decoding.Study(**vars(small) | changes | {"methods": study.methods}), None)
    assert "failed" not in capsys.readouterr().out
    results = json.loads(Path(small.results).read_text())
    assert set(study.methods) == set(results)
    for name, method in study.methods.items():
        assert results[name]["cost"]["passes"] == method.get("passes", 1)
    for selector in ("mmr", "dpp", "facility-location", "cluster-and-best"):
        assert results[f"over-generate-{selector}"]["cost"]["written"] > 2.5


def test_a_method_that_cannot_decode_does_not_end_the_study(decoding, small, capsys):
    """Seven groups cannot share four samples; the method behind it is still measured."""
    methods = {
        "plain": {},
        "broken": {"decoder": "diverse-beams", "options": {"groups": 7}},
        "min-p": METHODS["min-p"],
    }
    with pytest.raises(ValueError, match="failed: broken"):
        decoding.run(decoding.Study(**vars(small) | {"methods": methods}), None)
    assert "broken failed: groups must divide" in capsys.readouterr().out
    assert list(json.loads(Path(small.results).read_text())) == ["plain", "min-p"]


def test_the_figure_needs_plain_sampling(decoding, tmp_path):
    with pytest.raises(ValueError, match="needs the curve of 'plain'"):
        decoding.write_figure(tmp_path / "figure.svg", {})
