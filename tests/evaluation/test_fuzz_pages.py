"""Hostile text on the page, and hostile files at the command line."""

import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversify.cli import main
from diversify.evaluation import Run, compare, evaluate
from diversify.evaluation.report import render
from diversify.kernels import NgramKernel
from evaluation.damage import HOSTILE, QUICK, damaged, lines, torn
from evaluation.pages import Page

PIECES = (
    *HOSTILE,
    *("<!--", "-->", "<![CDATA[", "</p>", "</style><style>*{}", "</title>", "<svg/onload=x>"),
    *(
        "&#x3c;b&#x3e;",
        "`",
        "\u202d",
        "\u2067",
        "\u200f",
        "\u2029",
        "\x1b[2J",
        "\r",
        "javascript:x",
    ),
)
texts = st.lists(st.sampled_from(PIECES), max_size=3).map(" ".join)
REORDERING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def page_of(text: str) -> str:
    """The page of two runs with a text in all places that a file fills."""
    reports = []
    for number in (1, 2):
        rows = [
            {
                "id": f"{place}{text}",
                "prompt": prompt,
                "category": text,
                "generations": [text, f"{text} b", f"{text} {number} c"],
            }
            for place, prompt in enumerate((f"{text}.", [{"role": text, "content": text}]))
        ]
        run_settings = {"engine": {"model": text, "adapter": f"{text}{number}"}}
        run_settings |= {"strategy": {"name": text}, "prompts": {"name": text, "version": text}}
        reports.append(evaluate(Run(Path("x"), run_settings, rows), kernels=[NgramKernel(2)]))
    return render(compare(*reports, resamples=20), title=text)


@pytest.fixture(scope="module")
def harmless():
    """The kinds of elements on a page without any hostile text."""
    return {element["tag"] for element in Page(page_of("harmless")).elements}


@settings(QUICK, max_examples=6)
@given(texts)
def test_a_hostile_text_adds_no_element_and_reorders_nothing(harmless, text):
    """No kind of element that a harmless text does not have, no handler, no reordering character."""
    content = page_of(text)
    page = Page(content)
    assert page.errors == []
    assert not REORDERING & set(content)
    assert not [e for e in page.elements if any(name.startswith("on") for name in e)]
    assert {element["tag"] for element in page.elements} <= harmless
    assert not [e for e in page.elements if "javascript:" in (e.get("href") or "")]


COMMANDS = {
    "generations.jsonl": (
        ["evaluate", "{folder}", "--embedder", "none"],
        ["score", "{folder}", "--protocol", "enumerable@1"],
        ["import", "{folder}/generations.jsonl", "--output", "{folder}/out"],
    ),
    "run.json": (["evaluate", "{folder}", "--embedder", "none"],),
    "report.json": (["compare", "{folder}", "{folder}", "--resamples", "20"],),
    "samples.jsonl": (["compare", "{folder}", "{folder}", "--resamples", "20"],),
    "pairs.jsonl": (["calibrate", "{folder}/pairs.jsonl", "--ngram", "2"],),
    "prompts.jsonl": (["prompts", "{folder}/prompts.jsonl"],),
}
ROWS = [
    {"id": f"p{i}", "prompt": f"P{i}", "generations": ["cat", "dog"], "answers": [["cat"], ["dog"]]}
    for i in range(2)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "generations.jsonl").write_bytes(lines(ROWS))
    (folder / "run.json").write_text(json.dumps({"engine": {"model": "m"}, "samples": 2}))
    evaluate(folder, kernels=[NgramKernel(2)]).save(folder)
    pairs = [{"a": f"x {i}", "b": f"x {i % 3}", "same": i < 3} for i in range(6)]
    (folder / "pairs.jsonl").write_bytes(lines(pairs))
    (folder / "prompts.jsonl").write_bytes(lines([{"id": i, "prompt": f"P{i}"} for i in range(3)]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_does_its_work_or_says_one_line(files, capsys, name):
    """An exit code other than 0 comes with one line, and nothing ends in a traceback."""

    @settings(QUICK, max_examples=12)
    @given(st.data())
    def runs(data):
        parsed = [json.loads(line) for line in files[name].splitlines()] if name[-1] == "l" else []
        broken = [torn(files[name])]
        if parsed:
            broken.append(damaged(parsed).map(lines))
        content = data.draw(st.one_of(broken))
        with tempfile.TemporaryDirectory() as folder:
            for other, whole in files.items():
                (Path(folder) / other).write_bytes(content if other == name else whole)
            for command in COMMANDS[name]:
                capsys.readouterr()
                code = main([word.format(folder=folder) for word in command])
                said = capsys.readouterr().err
                assert code in (0, 1)
                if code:
                    assert said.startswith("diversify: ") and "Traceback" not in said
                    assert said.count("\n") == 1, said

    runs()


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["a", "word ", "один, ", "\n", "🙂", "(", "a.b-c_d "])
def test_ten_megabytes_are_scored_in_seconds(tmp_path, piece):
    """A model that loops until the limit; the numbers of three copies are those of one answer."""
    answer = piece * (2_500_000 // len(piece.encode()))
    (tmp_path / "g.jsonl").write_bytes(lines([{"prompt": "P", "generations": [answer] * 4}]))
    begun = time.process_time()
    (sample,) = evaluate(tmp_path / "g.jsonl", kernels=[NgramKernel(2)]).samples
    assert sample["measures"]["vendi,ngram-2"] == pytest.approx(1)
    assert time.process_time() - begun < 60
