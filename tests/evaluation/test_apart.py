"""Compared models can be told apart on a page, in a card and in a log, whatever their labels are."""

from dataclasses import replace

import pytest

from diversify.cli.tables import verdict_table
from diversify.evaluation import markdown_summary
from diversify.evaluation.report import render
from diversify.evaluation.report.names import measure_name
from diversify.evaluation.richness import ON_REQUEST
from diversify.evaluation.wording.apart import further, labels_apart, run_of, told_apart
from evaluation.pages import HOSTILE, Page, comparison, injected


def of_run(run, label="m + model"):
    """A comparison of one base with the model of a run, all adapters saved under one name."""
    plain = comparison(labels=("m", label))
    sides = {side: plain.details[side] for side in ("before", "after")}
    sides["before"] = sides["before"] | {"run": "runs/base/answers"}
    sides["after"] = sides["after"] | {"run": run}
    return replace(plain, details=plain.details | sides)


def test_what_paths_share_is_left_out_and_equal_ones_are_numbered():
    assert told_apart(["runs/a/b/answers", "runs/c/answers"]) == ["a/b", "c"]
    assert told_apart(["runs/a", "runs/a/b"]) == ["run 1", "run 2"]  # nothing is left of one
    assert told_apart([]) == []


def test_only_equal_labels_of_known_runs_get_longer():
    assert labels_apart(["m", "m", "n"], ["x/a", "x/b", "x/c"]) == ["m · a", "m · b", "n"]
    assert labels_apart(["m", "m"], ["", ""]) == ["m", "m"]
    with pytest.raises(ValueError, match="1 labels, 2 runs"):
        labels_apart(["m"], ["x/a", "x/b"])


def test_no_further_comparison_is_lost_because_labels_are_equal():
    main = of_run("runs/crpo/answers")
    others = [of_run("runs/darling/answers"), of_run("runs/gem/answers")]
    named = further(main, others)
    assert list(named) == ["darling", "gem"] and list(named.values()) == others
    page = Page(render(main, also=named))
    heads = [" ".join(th["text"].split()) for th in page.all("th", role="columnheader")]
    assert heads[-2:] == ["darling", "gem"]
    assert "m → m + model · crpo" in page.text and "m + model · darling" in page.text


def test_labels_that_differ_stay_as_they_are():
    others = [of_run("runs/b/answers", "second"), of_run("runs/c/answers", "third")]
    assert list(further(of_run("runs/a/answers", "first"), others)) == ["second", "third"]
    assert run_of({}, "after") == ""


# The summary in Markdown


def test_the_summary_tells_equal_labels_apart():
    same = of_run("runs/repulsion/answers", "m")
    assert "Before: m · base. After: m · repulsion." in markdown_summary(same)


def test_the_summary_says_where_lower_is_better_and_has_the_monitors():
    text = markdown_summary(comparison())
    assert "| self_bleu,words (lower is better) |" in text
    assert "| refusal (lower is better) | 0.010 | 0.030 | +0.020 |" in text
    assert "| length | 10.0 | 14.0 | +4.0 | +3.0 to +5.0 | 12 |" in text  # no better side
    assert "| vendi,minilm | 2.00 | 3.50 | +1.50 | +1.49 to +1.51 | 12 |" in text


@pytest.mark.parametrize("hostile", [*HOSTILE, "x\n# y\n\n| z |", "[a](javascript:b)", "\x1b[31m"])
def test_nothing_in_a_summary_is_read_as_markup(hostile):
    """As many lines and cells as with harmless text, and no tag, link, code or control character."""

    def shape(text):
        summary = markdown_summary(injected(text))
        return summary, [line.replace("\\|", "").count("|") for line in summary.splitlines()]

    summary, cells = shape(hostile)
    assert cells == shape("harmless")[1]
    plain = summary.replace("\\\\", "").replace("\\<", "").replace("\\`", "").replace("\\]", "")
    for markup in ("<s", "<a", "<i", "</", "<!", "`", "](", "\x1b"):
        assert markup not in plain


def test_the_table_of_the_command_line_names_equal_labels_by_their_runs():
    lines = verdict_table(of_run("runs/crpo/answers", label="m")).splitlines()
    assert lines[:2] == ["before: m · base", "after:  m · crpo"]


def test_every_measure_on_request_has_a_name_for_people():
    for code in (*ON_REQUEST, "coverage@8"):
        assert measure_name(f"{code},ngram-2").title != code
    assert measure_name("coverage@8,answers").title == "Different answers among 8"
    assert measure_name("mine,ngram-2").title == "mine"
