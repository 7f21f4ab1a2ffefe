"""The HTML report: what it says, what it must not say, and that nothing in it can run or load."""

import itertools
import json
import re
from collections import Counter

import numpy as np
import pytest

from diversify.evaluation import Change, Frontier, compare, evaluate, markdown_summary
from diversify.evaluation.report import render, write_report
from diversify.evaluation.report.answers import alike_order
from diversify.evaluation.report.cut import PAGE, beginning
from diversify.evaluation.report.figures import LEVELS, dumbbell, heat_map, interval_bar, level_of
from diversify.evaluation.report.frontier_plot import FRAME, Point, Swept, frontier_plot
from diversify.evaluation.report.numbers import prompt_numbers
from diversify.evaluation.report.svg import (
    Box,
    Label,
    along,
    around,
    axis_of,
    leader,
    place,
    tag,
    ticks,
)
from diversify.evaluation.report.table import judged, within
from diversify.evaluation.report.verdict import badges, headline, sentence
from diversify.evaluation.wording.visible import visible
from diversify.evaluation.wording.written import Style, style_of
from evaluation.pages import (
    AFTER,
    BEFORE,
    HOSTILE,
    REASONS,
    Page,
    change,
    comparison,
    injected,
    sample,
    swept,
    with_sweep,
)


@pytest.fixture(scope="module")
def page():
    return Page(render(comparison()))


# The page as a file


def test_tags_are_balanced_and_ids_unique(page):
    assert page.errors == []
    ids = [e["id"] for e in page.elements if "id" in e]
    assert len(ids) == len(set(ids)) > 3


def test_links_point_at_something_on_the_page(page):
    ids = {e.get("id") for e in page.elements}
    links = [a["href"] for a in page.all("a")]
    assert len(links) >= 7
    assert {link.removeprefix("#") for link in links} <= ids


def test_nothing_is_loaded_and_nothing_runs():
    for html in (render(comparison()), render(with_sweep(), also={"more": comparison()})):
        page = Page(html)
        tags = {e["tag"] for e in page.elements}
        assert not tags & {"script", "iframe", "img", "object", "embed", "form", "base", "video"}
        for element in page.elements:
            assert not [name for name in element if name.startswith("on")]
            for name in ("src", "href", "srcset", "action", "poster", "xlink:href", "data"):
                assert element.get(name, "#").startswith(("#", "data:,")), element
        (style,) = page.all("style")
        assert "url(" not in style["text"] and "@import" not in style["text"]
        assert "http://" not in html and "https://" not in html


def test_content_security_policy_comes_before_anything_it_governs(page):
    tags = [e["tag"] for e in page.elements]
    (policy,) = [e for e in page.elements if e.get("http-equiv") == "Content-Security-Policy"]
    assert page.elements.index(policy) < tags.index("style")
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules  # so default-src forbids every script
    assert rules["img-src"] == "data:"


def test_written_in_one_step_into_a_new_folder(tmp_path):
    path = write_report(comparison(), tmp_path / "new" / "report.html", title="My title")
    assert path == tmp_path / "new" / "report.html"
    assert list(path.parent.iterdir()) == [path]
    assert "<title>My title</title>" in path.read_text("utf-8")
    write_report(comparison(), path, title="Another")
    assert "<title>Another</title>" in path.read_text("utf-8")


def test_same_input_gives_the_same_page():
    assert render(comparison()) == render(comparison())


def long_answers(prompts):
    """A comparison of so many prompts, with sixteen answers of 120 words before and after."""
    words = [f"word{number % 97}" for number in range(120)]
    texts = [" ".join(words[shift:] + words[:shift]) for shift in range(16)]
    rows = [sample(f"p{n}", f"Prompt {n}?", texts, 2.0 + n) for n in range(prompts)]
    return comparison(samples=(rows, rows)), sum(map(len, texts)) * 2 * prompts


def test_markup_stays_in_proportion_to_the_text():
    found, text = long_answers(4)
    size = len(render(found).encode())
    assert text < size - 60_000 < 2.4 * text


@pytest.mark.slow
def test_a_hundred_prompts_of_sixteen_long_answers_stay_below_six_megabytes():
    found, text = long_answers(100)
    size = len(render(found).encode())
    assert PAGE < text  # so the end of each answer had to go
    assert PAGE < size < 6_000_000  # the text itself is most of it; tables of heat maps add 0.6


def test_tables_are_readable_by_a_screen_reader(page):
    for table in page.all("table"):
        start = page.elements.index(table)
        assert page.elements[start + 1]["tag"] == "caption"
    assert all("scope" in th for th in page.all("th"))
    for svg in page.all("svg"):
        if svg.get("overflow") == "visible":  # a marker inside a figure
            continue
        if svg.get("class") == "map":  # its points are links
            assert svg["role"] == "group" and svg["aria-label"]
            continue
        assert svg.get("aria-hidden") == "true" or svg.get("role") == "img"
    assert len(page.all("h1")) == 1


# Hostile text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_markup(text):
    def shape(content):
        parsed = Page(render(injected(content), title=content, also={content: injected(content)}))
        assert parsed.errors == []
        return Counter(
            (e["tag"], *sorted(name for name in e if name != "text")) for e in parsed.elements
        ), parsed

    harmless, _ = shape("w" * len(text))
    found, parsed = shape(text)
    assert found == harmless
    assert parsed.text.count(" ".join(text.split())) > 20


def test_characters_that_reorder_or_hide_are_spelt_out():
    assert visible("a\u202eb\u2067c\x00\x1b\ud800") == "a⟦RLO⟧b⟦RLI⟧c⟦U+0000⟧⟦U+001B⟧⟦U+D800⟧"
    html = render(injected("safe\u202etxt.exe\u2066\x07"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", html)
    assert html.count("safe⟦RLO⟧txt.exe⟦LRI⟧⟦U+0007⟧") > 20


def test_broken_surrogates_can_be_written(tmp_path):
    assert "⟦U+D83D⟧" in write_report(injected("half \ud83d"), tmp_path / "r.html").read_text(
        "utf-8"
    )


def test_emoji_and_right_to_left_text_stay_and_are_isolated():
    html = render(comparison(samples=([sample("a", "?", ["👩‍👩‍👧 مرحبا"], 1.0)],) * 2))
    assert '<div class="text" dir="auto">👩‍👩‍👧 مرحبا</div>' in html
    assert visible("👩‍👩‍👧 مرحبا\u200f\n\t") == "👩‍👩‍👧 مرحبا\u200f\n\t"


def test_long_answers_are_whole_but_cut_for_the_eye():
    long = "begin " + "word " * 2000 + "end"
    parsed = Page(render(comparison(samples=([sample("a", "?", [long, "short"], 1.0)],) * 2)))
    clamps = [e for e in parsed.all("div", "clamp") if long in e["text"]]
    assert len(clamps) == 2  # once before, once after: the text is not repeated
    assert all("long" in e["class"].split() and "Show all 2,002 words" in e["text"] for e in clamps)
    short = [e for e in parsed.all("div", "clamp") if e["text"].strip() == "short"]
    assert len(short) == 2 and all(e["class"] == "clamp" for e in short)


def test_empty_answers_are_named_and_copies_told_once():
    texts = ["", "same", "same", "same", "  \n"]
    parsed = Page(render(comparison(samples=([sample("a", "?", texts, 1.0)],) * 2)))
    assert [e["text"] for e in parsed.all("p", "empty")] == ["(empty)"] * 4
    numbers = [" ".join(e["text"].split()) for e in parsed.all("p", "number")]
    assert (
        sum(number.startswith("2\N{EN DASH}4 \N{MULTIPLICATION SIGN} 3") for number in numbers) == 2
    )


# The verdict


@pytest.mark.parametrize("verdict", itertools.product((True, False, None), repeat=3))
def test_headline_claims_exactly_what_the_verdict_says(verdict):
    collapse, quality, beats = verdict
    unclear = change(2.0, 2.1, -0.1, 0.3)
    measures = None if collapse else {"vendi,minilm": unclear, "vendi,ngram-2": unclear}
    told = headline(comparison(verdict, **({"measures": measures} if measures else {})))
    first, rest = re.split("[;,] ", told, maxsplit=1)
    assert (first == "Collapse fell") == (collapse is True)
    assert (first == "It is not shown that collapse fell") == (collapse is False)
    assert (first == "Whether collapse fell cannot be said") == (collapse is None)
    assert rest.startswith(
        {
            True: "quality held",
            False: "quality may not have held",
            None: "whether quality held cannot be said",
        }[quality]
    )
    assert ("temperature alone does not explain it" in told) == bool(collapse and beats)
    assert ("temperature alone may explain it" in told) == bool(collapse and beats is False)
    assert ("explains it cannot be said" in told) == bool(collapse and beats is None)
    if not collapse:
        assert ("there is more diversity than the base" in told) == (beats is True)
        assert ("not shown to beat" in told) == (beats is False)


def test_headline_of_the_clean_win():
    assert headline(comparison()) == (
        "Collapse fell, quality held, and temperature alone does not explain it"
    )


def test_headline_tells_a_loss_from_a_doubt():
    lost = {"relevance": change(0.8, 0.6, -0.25, -0.15)}
    doubt = {"relevance": change(0.8, 0.78, -0.05, 0.01)}
    verdict = (True, False, None)
    assert "quality did not hold" in headline(comparison(verdict, qualities=lost))
    assert "quality may not have held" in headline(comparison(verdict, qualities=doubt))


def test_headline_tells_disagreement_and_loss_of_diversity():
    up, down = change(2.0, 3.0), change(3.0, 2.0)
    both = {"vendi,minilm": up, "vendi,ngram-2": down}
    worse = {"vendi,minilm": down, "vendi,ngram-2": down}
    verdict = (False, True, None)
    assert headline(comparison(verdict, measures=both)).startswith(
        "Collapse fell by some measures and not by all;"
    )
    assert headline(comparison(verdict, measures=worse)).startswith("Answers became more alike;")


@pytest.mark.parametrize(
    ("answer", "word"), [(True, "Yes"), (False, "No"), (None, "Cannot be said")]
)
def test_badges_carry_their_answer_and_reason(answer, word):
    for code, reason in REASONS.items():
        verdict = dict.fromkeys(REASONS, not answer) | {code: answer, "reasons": REASONS}
        (badge,) = [badge for badge in badges(verdict) if badge.code == code]
        assert (badge.answer, badge.reason) == (word, sentence(reason))
    parsed = Page(render(comparison((answer,) * 3)))
    assert [e["text"].split(maxsplit=1)[1] for e in parsed.all("p", "answer")] == [word] * 3
    assert all(sentence(reason) in parsed.text for reason in REASONS.values())


def test_headline_stands_on_top(page):
    (title,) = page.all("h1")
    assert title["text"] == headline(comparison()) + "."


def test_deck_counts_answers_under_a_kernel_that_was_not_trained_on(page):
    (deck,) = page.all("p", "deck")
    assert (
        "3 answers to a question counted as 2.12 different ones before and 3.88 after"
        in deck["text"]
    )
    assert "ngram-2, a kernel that was not trained on" in deck["text"]


def test_one_answer_is_told_in_the_singular():
    rows = [sample("p1", "Name a colour.", ["Blue."], 1.0)]
    (deck,) = Page(render(comparison(samples=(rows, rows)))).all("p", "deck")
    assert deck["text"].startswith("1 answer to a question counted as 2.12 different ones before")


# The table


def cells_of(page, code):
    """The texts of the row whose code name this is."""
    for row in page.all("tr"):
        start = page.elements.index(row) + 1
        inside = []
        for element in page.elements[start:]:
            if element["tag"] in ("tr", "tbody"):
                break
            inside.append(element)
        if any(e["tag"] == "code" and e["text"] == code for e in inside):
            return [" ".join(e["text"].split()) for e in inside if e["tag"] in ("th", "td")]
    raise AssertionError(f"no row {code}")


def test_rows_hold_their_numbers(page):
    title, before, after, difference, word, improved = cells_of(page, "vendi,minilm")
    assert title.startswith("Effective number of answers (Vendi)") and "★" in title
    assert (before, after, difference) == ("2.00", "3.50", "+1.50 [+1.49, +1.51]")
    assert (word, improved) == ("▲ better", "6 of 12")


def test_similarity_is_the_mirror_of_distance(page):
    row = cells_of(page, "1 \N{MINUS SIGN} mean_distance,minilm")
    assert row[1:4] == [
        "0.700",
        "0.500",
        "\N{MINUS SIGN}0.200 [\N{MINUS SIGN}0.210, \N{MINUS SIGN}0.190]",
    ]
    assert row[4] == "▲ better"


def test_lower_is_better_and_neutral_numbers_are_judged_their_own_way(page):
    assert cells_of(page, "self_bleu,words")[4] == "▲ better"
    assert cells_of(page, "refusal")[1:5] == [
        "1.0 %",
        "3.0 %",
        "+2.0 points [+1.0, +3.0]",
        "▼ worse",
    ]
    length = cells_of(page, "length")
    assert length[4] == "◆ longer" and length[5].startswith("\N{EN DASH}")
    assert judged("refusal", change(0.1, 0.1, -0.1, 0.1)) == ("open", "not certain")
    assert judged("length", change(9, 4, -6, -4, higher=False)) == ("moved", "shorter")


def test_groups_name_the_role_of_each_kernel(page):
    heads = [" ".join(e["text"].split()) for e in page.all("th", scope="rowgroup")]
    assert [head.split(")")[0] for head in heads[:2]] == [
        "Meaning (minilm",
        "Shared word pairs (ngram-2",
    ]
    assert "counts as trained on" in heads[0] and "held out" in heads[1]
    assert [head.split()[0] for head in heads[2:]] == ["Words", "Quality", "Monitors"]


def test_trained_kernel_leads_wherever_it_stands():
    plain = comparison()
    plain.details["trained_kernel"] = "ngram-2"
    heads = [e["text"] for e in Page(render(plain)).all("th", scope="rowgroup")]
    assert "ngram-2" in heads[0] and "counts as trained on" in heads[0]
    assert "minilm" in heads[1] and "held out" in heads[1]


def test_unknown_names_keep_their_code():
    plain = comparison(
        measures={"frobnicity,minilm": change(1.0, 2.0)},
        qualities={"zest": change(1.0, 1.0)},
        monitors={"hum": change(1.0, 1.0)},
    )
    parsed = Page(render(plain))
    for code in ("frobnicity,minilm", "zest", "hum"):
        assert cells_of(parsed, code)[0].startswith(code.partition(",")[0])


@pytest.mark.parametrize(
    ("interval", "two_sided", "word"),
    [
        ((-0.02, 0.9), False, "held"),
        ((-0.04, 0.9), False, "may have fallen"),
        ((-0.09, -0.04), False, "fell beyond its margin"),
        ((-0.02, 0.9), True, "may have risen too far"),
        ((-0.02, 0.02), True, "held"),
        ((float("-inf"), float("inf")), False, "may have fallen"),
    ],
)
def test_quality_is_judged_against_its_margin(interval, two_sided, word):
    found = Change(0.5, 0.5, 0.0, interval, 9, 0.5, True)
    assert within(found, (-0.03, 0.03 if two_sided else float("inf")))[1] == word
    plain = comparison(qualities={"relevance": found})
    plain.details["margins"] = {"relevance": {"margin": 0.03, "two_sided": two_sided}}
    row = cells_of(Page(render(plain)), "relevance")
    assert row[4].endswith(word)
    assert ("margin 0.03 in either direction" in row[0]) == two_sided


@pytest.mark.parametrize(
    ("prompts", "units", "word"),
    [(5, None, "not certain"), (6, None, "held"), (12, 5, "not certain"), (12, 6, "held")],
)
def test_too_few_independent_prompts_show_nothing(prompts, units, word):
    """Fewer than six: no interval says that a quality held, or that it was lost."""
    kept = change(0.8, 0.8, 0.0, 0.0, n=prompts)._replace(n_units=units)
    lost = change(0.8, 0.1, n=prompts)._replace(n_units=units)
    plain = comparison((True, False, None), qualities={"kept": kept, "lost": lost})
    margin = {"margin": 0.03, "two_sided": False}
    plain.details["margins"] = {"kept": margin, "lost": margin}
    parsed, certain = Page(render(plain)), word == "held"
    assert cells_of(parsed, "kept")[4] == ("✓ held" if certain else "○ not certain")
    assert cells_of(parsed, "lost")[4] == (
        "▼ fell beyond its margin" if certain else "○ not certain"
    )
    assert ("quality did not hold" in headline(plain)) == certain


def test_an_interval_that_is_not_known_does_not_hold():
    unknown = Change(0.5, 0.5, 0.0, (float("nan"), float("nan")), 9, 0.5, True)
    assert within(unknown, (-0.03, float("inf"))) == ("open", "may have fallen")


def test_a_further_comparison_is_judged_by_its_own_margin():
    """-0.02 lies below a margin of 0.01 and within one of 0.03: the cells say which is whose."""
    strict, wide = comparison(), comparison()
    strict.details["margins"] = {"relevance": {"margin": 0.01, "two_sided": False}}
    also = {"wide": wide, "strict": strict}
    row = cells_of(Page(render(comparison(), also=also)), "relevance")
    assert row[4] == "✓ held" and row[6].endswith("✓ held")
    assert row[7].endswith("○ may have fallen, margin 0.01 downwards")
    row = cells_of(Page(render(strict, also=also)), "relevance")
    assert row[4] == "○ may have fallen" and row[7].endswith("○ may have fallen")
    assert row[6].endswith("✓ held, margin 0.03 downwards")


def test_only_the_deciding_qualities_reach_the_headline_and_carry_a_star():
    plain = comparison(
        (True, False, None),
        qualities={"lost": change(0.8, 0.1), "doubted": change(0.8, 0.78, -0.05, 0.01)},
    )
    margin = {"margin": 0.03, "two_sided": False}
    plain.details["margins"] = {"lost": margin, "doubted": margin}
    assert "quality did not hold" in headline(plain)
    plain.details["deciding"] = ["doubted"]
    assert "quality may not have held" in headline(plain)
    parsed = Page(render(plain))
    assert "★" in cells_of(parsed, "doubted")[0] and "★" not in cells_of(parsed, "lost")[0]


def test_p_values_and_what_could_be_found_are_told_where_they_are_known():
    known = change(2.0, 3.5)._replace(p_value=0.0123, p_holm=0.0246, detectable=0.4)
    alone = change(0.3, 0.5)._replace(p_value=0.00001)
    plain = comparison(measures={"vendi,minilm": known, "distinct,minilm": alone})
    parsed = Page(render(plain))
    row = cells_of(parsed, "vendi,minilm")
    assert row[3] == "+1.50 [+1.49, +1.51] detects \N{PLUS-MINUS SIGN}0.40"
    assert row[4] == "▲ better p = 0.012, corrected 0.025"
    assert cells_of(parsed, "distinct,minilm")[4] == "▲ better p < 0.001"
    assert "“Detects” is the true change" in parsed.text
    assert "corrected for all the numbers of the question" in parsed.text


def test_a_comparison_without_tests_says_nothing_of_them(page):
    assert "“Detects”" not in page.text and " p = " not in page.text
    assert cells_of(page, "vendi,minilm")[4] == "▲ better"


def test_measures_at_equal_length_have_a_group_of_their_own():
    matched = {"vendi,ngram-2": change(1.31, 1.67)}
    parsed = Page(render(comparison(length_matched=matched)))
    heads = [" ".join(e["text"].split()) for e in parsed.all("th", scope="rowgroup")]
    assert heads[3].startswith("At equal length answers cut to the shorter")
    assert "1.67" in parsed.text and "1.67" not in Page(render(comparison())).text


@pytest.mark.parametrize(
    ("left_out", "told"),
    [(8, "all 8 prompts are left out: their"), (1, "the only prompt is left out: its")],
)
def test_prompts_that_are_all_left_out_at_equal_length_are_told(left_out, told):
    cuts = {"cap": None, "before": None, "after": None, "left_out": left_out}
    plain = comparison()
    plain.details["length_matched"] = cuts
    heads = [" ".join(e["text"].split()) for e in Page(render(plain)).all("th", scope="rowgroup")]
    whole = f"{told} answers before or after are mostly blank"
    assert f"At equal length {whole}" in heads
    assert f"At equal length: {whole}." in markdown_summary(plain).splitlines()


def test_the_recipe_says_how_the_tests_were_made():
    plain = comparison()
    plain.details["statistics"] = {
        "interval": "BCa, stretched",
        "test": "sign flips",
        "family": ["vendi,minilm", "vendi,ngram-2"],
        "correction": "Holm",
        "power": 0.8,
        "unit": "group of prompts",
        "units": 7,
        "unpaired": {"relevance": 2},
    }
    text = Page(render(plain)).text
    for told in ("sign flips", "vendi,minilm, vendi,ngram-2", "Holm", "80 %", "relevance: 2"):
        assert told in text
    assert "group of prompts, 7 of them" in text
    assert "Corrected together" not in Page(render(comparison())).text


def test_missing_intervals_are_said_to_be_missing():
    endless = Change(1.0, 2.0, 1.0, (float("-inf"), float("inf")), 1, 1.0, True)
    row = cells_of(Page(render(comparison(measures={"vendi,minilm": endless}))), "vendi,minilm")
    assert row[3] == "+1.00 no interval" and row[4] == "○ not certain"


def test_numbers_use_a_real_minus_and_enough_digits():
    assert Style(2).signed(-0.5) == "\N{MINUS SIGN}0.50"
    assert Style(1).signed(-0.01) == "0.0"
    assert style_of(change(0.5, 0.5004)).signed(0.0004) == "+0.0004"
    assert style_of(change(120.0, 140.0)).number(140.0) == "140.0"
    assert Style(1, share=True).number(0.125) == "12.5 %"
    assert Style(2).number(None) == Style(2).signed(float("nan")) == "\N{EN DASH}"


# The figures


def share(text):
    return float(text.removesuffix("%"))


def test_interval_bar_is_drawn_to_scale():
    parsed = Page(interval_bar(0.2, (0.1, 0.4), "better", (-0.3, float("inf"))))
    (bar,), (dot,), (band,) = parsed.all("line", "bar"), parsed.all("circle"), parsed.all("rect")
    left, right, middle = share(bar["x1"]), share(bar["x2"]), share(dot["cx"])
    assert 50 < left < middle < right < 100
    assert (right - 50) / (left - 50) == pytest.approx(4, rel=0.02)
    assert (middle - 50) / (left - 50) == pytest.approx(2, rel=0.02)
    assert (50 - share(band["x"])) / (left - 50) == pytest.approx(3, rel=0.02)
    assert share(band["x"]) + share(band["width"]) == pytest.approx(100, abs=0.2)
    assert not Page(interval_bar(0.2, (float("-inf"), float("inf")), "open")).all("circle")


def test_dumbbell_stands_where_its_axis_says():
    axis = axis_of([1.0, 5.0])
    parsed = Page(dumbbell([("before", 2.0), ("after", 4.0), ("also-0", 3.0)], axis, "t"))
    (line,) = parsed.all("line", "reach")
    assert share(line["x1"]) == pytest.approx(100 * axis.share(2.0), abs=0.01)
    assert share(line["x2"]) == pytest.approx(100 * axis.share(4.0), abs=0.01)
    (figure,) = parsed.all("svg", "dumbbell")
    assert [figure[f"data-{kind}"] for kind in ("before", "after", "also-0")] == ["2", "4", "3"]
    assert share(line["x1"]) < 100 * axis.share(3.0) < share(line["x2"])


def test_page_has_a_dumbbell_with_the_numbers_of_every_prompt(page):
    found = {
        (e["data-before"], e["data-after"])
        for e in page.all("svg", "dumbbell")
        if "data-after" in e
    }
    assert found == {("1.5", "2"), ("2", "3"), ("2.5", "1")}


def decode(svg, count):
    """The levels that a heat map's paths paint, -1 where nothing is painted."""
    painted = np.full((count, count), -1)
    for path in Page(svg).all("path"):
        for x, y, run in re.findall(r"M(\d+) (\d+)\.5h(\d+)", path["d"]):
            assert (painted[int(y), int(x) : int(x) + int(run)] == -1).all()
            painted[int(y), int(x) : int(x) + int(run)] = int(path["class"].removeprefix("h"))
    return painted


def test_heat_map_paints_every_pair_in_its_step():
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-0.2, 1.0, (7, 7))
    similarity = (similarity + similarity.T) / 2
    np.fill_diagonal(similarity, 1.0)
    order = [3, 0, 6, 1, 2, 5, 4]
    svg = heat_map(similarity, order, "of x")
    expected = level_of(similarity[np.ix_(order, order)])
    np.fill_diagonal(expected, -1)
    np.testing.assert_array_equal(decode(svg, 7), expected)
    (figure,) = Page(svg).all("svg")
    pairs = similarity[np.triu_indices(7, 1)]
    assert float(figure["data-mean"]) == pytest.approx(pairs.mean(), rel=1e-4)
    (told,) = Page(svg).all("desc")
    assert f"({pairs.max():.2f})" in told["text"] and f"({pairs.min():.2f})" in told["text"]


def test_steps_of_colour():
    assert level_of(np.array([-1, 0, 0.09, 0.1, 0.3, 0.899, 0.9, 1.0])).tolist() == [
        0, 0, 0, 1, 3, 8, LEVELS - 1, LEVELS - 1,
    ]  # fmt: skip


def test_alike_answers_become_neighbours():
    labels = np.array([0, 1, 0, 1, 2, 0])
    order = alike_order((labels[:, None] == labels) * 0.9 + 0.1 * np.eye(6))
    assert sorted(order) == list(range(6))
    assert len([1 for a, b in itertools.pairwise(labels[order]) if a != b]) == 2
    assert alike_order(np.ones((5, 5))) == [0, 1, 2, 3, 4]


def test_ticks_are_round_and_inside():
    for low, high in ((0, 1), (-1.9, -1.05), (3.2, 3.9), (1, 160), (0.001, 0.0042)):
        found = ticks(low, high)
        assert 3 <= len(found) <= 8
        assert low - 1e-9 <= found[0] and found[-1] <= high + 1e-9
    assert axis_of([2.0, 2.0]).low < 2.0 < axis_of([2.0, 2.0]).high


def test_labels_do_not_collide():
    rng = np.random.default_rng(1)
    for _ in range(40):
        spots = rng.uniform((290, 30), (380, 270), (5, 2))
        labels = [
            Label(f"T {n / 10}" if n > 2 else "Before", *spot, "") for n, spot in enumerate(spots)
        ]
        boxes = place(labels, [around((x, y), 7) for x, y in spots], FRAME)
        for one, other in itertools.combinations(boxes, 2):
            assert one.overlap(other) == 0
        assert all(box.outside(FRAME) < 1e-6 for box in boxes)


def test_later_labels_keep_off_the_lines_of_earlier_ones():
    rng = np.random.default_rng(2)
    lines = 0
    for _ in range(60):
        spots = rng.uniform((300, 120), (350, 170), (6, 2))
        labels = [
            Label("some label" if n < 3 else f"T {n}", *spot, "") for n, spot in enumerate(spots)
        ]
        boxes = place(labels, [around((x, y), 7) for x, y in spots], FRAME)
        for first, second in itertools.combinations(range(6), 2):
            line = along(leader(labels[first], boxes[first]))
            lines += bool(line)
            assert sum(around(spot, 1).overlap(boxes[second]) for spot in line) == 0
    assert lines > 20


def test_overlap_and_lines():
    assert Box(0, 0, 2, 2).overlap(Box(1, 1, 4, 4)) == 1
    assert Box(0, 0, 1, 1).overlap(Box(2, 0, 3, 1)) == 0
    assert along([(0, 0), (12, 0)])[3] == (3, 0)


def test_svg_escapes_text_and_attributes():
    assert str(tag("text", "<b>&", x=1.0, data_a='"')) == (
        '<text x="1" data-a="&#34;">&lt;b&gt;&amp;</text>'
    )


# Against temperature


def first_plot(html):
    """The first frontier plot alone."""
    return Page(re.search(r'<svg[^>]* class="frontier".*?</svg>', html, re.DOTALL).group())


def test_frontier_shows_the_sweep_and_the_models():
    html = render(with_sweep())
    plot = first_plot(html)
    assert [
        (e["data-temperature"], e["data-quality"], e["data-diversity"])
        for e in plot.all("circle", "swept")
    ] == [("0.5", "0.9", "1"), ("1", "0.8", "2"), ("1.5", "0.6", "3")]
    points = {
        e["data-kind"]: (e["data-quality"], e["data-diversity"]) for e in plot.all("g", "point")
    }
    assert points == {"before": ("0.8", "2"), "after": ("0.79", "3.5")}
    # At quality 0.79 the curve, between (0.8, 2) and (0.6, 3), offers 2.05.
    (gap,) = plot.all("line", "gap")
    height = {e["data-diversity"]: float(e["cy"]) for e in plot.all("circle", "swept")}
    offered = height["2"] + 0.05 * (height["3"] - height["2"])
    assert float(gap["y2"]) == pytest.approx(offered, abs=0.02)
    # The model before is a point of the sweep: one label names both.
    labels = [e["text"] for e in plot.all("text", "label")]
    assert sorted(labels) == ["After", "Before, T 1", "T 0.5", "T 1.5"]
    caption = Page(html).all("figcaption")[0]
    assert "+1.45 [+1.21, +1.69] ▲ above the curve" in " ".join(caption["text"].split())


def test_a_line_is_as_long_as_the_gap_that_is_told():
    """Of the prompts that were scored everywhere the gap is .5: from 3.5 down to 3, the hottest T.

    Where nothing was, there is no gap and no line.
    """
    fewer, nothing = with_sweep(), with_sweep()
    note = " (1 of 3 prompts not scored everywhere is left out)"
    fewer.details["standings"][0] |= {"gap": 0.5, "note": note}
    plot = first_plot(render(fewer))
    (gap,) = plot.all("line", "gap")
    height = {e["data-diversity"]: float(e["cy"]) for e in plot.all("circle", "swept")}
    assert float(gap["y2"]) == pytest.approx(height["3"], abs=0.02)
    assert note.strip(" ()") in Page(render(fewer)).all("figcaption")[0]["text"]
    nothing.details["standings"][0] |= {"gap": None, "ci95": (None, None), "above": None}
    assert not first_plot(render(nothing)).all("line", "gap")


def test_gap_ends_where_the_curve_offers_the_same_quality():
    sweep = [Swept(0.5, 0.9, 1.0), Swept(1.5, 0.7, 3.0)]
    after = Point("after", "After", 0.8, 4.0, reach=2.0)
    parsed = Page(frontier_plot(sweep, [after], quality="q", measure="m", summary="s"))
    (gap,) = parsed.all("line", "gap")
    heights = {e["data-diversity"]: float(e["cy"]) for e in parsed.all("circle", "swept")}
    assert float(gap["y2"]) == pytest.approx((heights["1"] + heights["3"]) / 2, abs=0.02)
    assert float(gap["y1"]) < float(gap["y2"])  # more diverse is further up
    across = [float(e["cx"]) for e in parsed.all("circle", "swept")]
    assert float(gap["x1"]) == pytest.approx(sum(across) / 2, abs=0.02)
    assert across[0] > across[1]  # better quality is further right


def test_no_sweep_is_said_and_draws_nothing(page):
    assert "No temperature sweep of the base model was given." in page.text
    assert not page.all("svg", "frontier")


def test_a_sweep_without_quality_is_said():
    parsed = Page(render(with_sweep(qualities={})))
    assert "no quality was measured in it" in parsed.text
    assert not parsed.all("svg", "frontier")


def test_every_quality_has_a_panel():
    reports = []
    for temperature, level in ((0.5, 0.9), (1.5, 0.6)):
        report = swept(temperature, temperature, level)
        report.samples[0]["qualities"]["zest"] = level
        reports.append(report)
    both = {"relevance": change(0.8, 0.7), "zest": change(0.8, 0.7)}
    plain = comparison(frontier=Frontier(tuple(reports), (0.5, 1.5)), qualities=both)
    titles = [e["text"] for e in Page(render(plain)).all("text", "title")]
    assert [t for t in titles if t in ("Relevance →", "zest →")][:2] == ["Relevance →", "zest →"]


# Prompt by prompt


def test_all_prompts_are_there_sorted_by_change_and_two_are_open(page):
    prompts = page.all("details", "prompt")
    asked = [" ".join(e["text"].split()) for e in page.all("span", "asked")]
    assert asked == ["Name a fruit.", "Name a colour.", "Name a river."]
    assert ["open" in e for e in prompts] == [True, True, False]
    for row in (*BEFORE, *AFTER):
        assert all(text in page.text for text in row["generations"])


def test_answers_stand_before_left_and_after_right(page):
    sides = page.all("section", "side")
    assert [e["class"] for e in sides] == ["side before", "side after"] * 3
    assert "Kiwi." in sides[1]["text"] and "Kiwi." not in sides[0]["text"]
    assert "2 of 3 texts differ" in sides[0]["text"]


def test_a_prompt_that_was_not_scored_comes_last():
    before = [dict(row) for row in BEFORE]
    before[1]["measures"] = {"vendi,minilm": None}
    parsed = Page(render(comparison(samples=(before, AFTER))))
    assert parsed.all("span", "asked")[-1]["text"].strip() == "Name a fruit."
    assert "\N{EN DASH} → 3.00" in parsed.text


def test_chats_show_their_earlier_turns():
    chat = [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "Name a lake."},
    ]
    parsed = Page(render(comparison(samples=([sample("a", chat, ["Como."], 1.0)],) * 2)))
    assert parsed.all("span", "asked")[0]["text"].strip() == "Name a lake."
    turns = [" ".join(e["text"].split()) for e in parsed.all("div", "turn")]
    assert turns == ["system You are kind.", "user Name a lake."]


def test_a_chat_is_named_by_its_user_and_each_turn_has_its_own_role():
    chat = [
        {"role": "user", "content": "Name a lake."},
        {"role": "assistant", "content": "Gladly: the"},
    ]
    rows = [sample("a", chat, ["Como."], 1.0), sample("b", chat[1:], ["Como."], 1.0)]
    parsed = Page(render(comparison(samples=(rows, rows))))
    asked = [e["text"].strip() for e in parsed.all("span", "asked")]
    assert asked == ["Name a lake.", "Gladly: the"]  # nothing but the start of an answer
    turns = [" ".join(e["text"].split()) for e in parsed.all("div", "turn")]
    assert turns == ["user Name a lake.", "assistant Gladly: the", "assistant Gladly: the"]


def test_prompts_without_spaces_are_cut_near_the_end():
    """Of 220 characters 219 and an ellipsis are left, not the two in front of the only space."""
    text = "问题 " + "春天的诗" * 100
    rows = [sample("a", text, ["Como."], 1.0)]
    parsed = Page(render(comparison(samples=(rows, rows))))
    assert parsed.all("span", "asked")[0]["text"].strip() == text[:219] + "…"
    assert text[:159] + "…" in [e["text"] for e in parsed.all("bdi")]


def test_prompts_with_spaces_are_cut_between_words():
    assert beginning("Name an animal", 14) == "Name an animal"
    assert beginning("Name an animal now", 15) == "Name an animal…"
    assert beginning("Name an animal now", 14) == "Name an anima…"  # "Name an" is too little


def test_numbers_that_must_not_be_compared_are_not_subtracted():
    """Three answers before and four after: of the measures only the mean distance is left."""
    four = sample("p1", "Name a colour.", ["Blue."] * 4, 2.0)
    before = BEFORE[0] | {"monitors": {"length": 2.0, "refusal": 0.0, "exact_duplicates": 0.5}}

    def codes(*samples):
        return {number.code: number.others for number in prompt_numbers(samples)}

    left = {"mean_distance,minilm", "relevance", "length", "refusal"}
    assert set(codes(before, four)) == left
    assert set(codes(before, AFTER[0])) == left | {"vendi,minilm", "exact_duplicates"}
    beside = codes(before, AFTER[0], four, AFTER[0])
    assert beside["vendi,minilm"] == ["\N{EN DASH}", "2.000"]
    assert beside["mean_distance,minilm"] == ["0.400", "0.400"]
    parsed = Page(render(comparison(samples=([before], [four]))))
    (table,) = [e for e in parsed.all("details", "fold") if "All numbers" in e["text"]]
    assert "mean_distance,minilm" in table["text"] and "vendi,minilm" not in table["text"]


def test_a_comparison_without_samples_has_no_prompts():
    parsed = Page(render(comparison(samples=([], []))))
    assert parsed.errors == [] and not parsed.all("details", "prompt")
    assert "no answers to show" in parsed.text


# Further comparisons


def test_further_comparisons_have_columns_points_answers_and_a_verdict():
    drawn = [row | {"generations": ["Teal.", "Ochre.", "Pink."]} for row in AFTER[::-1]]
    verdict = (True, False, None)
    more = comparison(verdict, labels=("base", "tuned + pool"), samples=(BEFORE, drawn))
    more.measures["vendi,minilm"] = change(2.0, 4.75)
    del more.measures["self_bleu,words"]
    parsed = Page(render(with_sweep(), also={"over-generate": more}))
    assert parsed.errors == []
    assert cells_of(parsed, "vendi,minilm")[6].startswith("4.75 +2.75")
    assert cells_of(parsed, "self_bleu,words")[6] == "\N{EN DASH}"
    plot = first_plot(render(with_sweep(), also={"over-generate": more}))
    points = {e["data-kind"]: e["data-diversity"] for e in plot.all("g", "point")}
    assert points == {"before": "2", "after": "3.5", "also-0": "4.75"}
    sides = parsed.all("section", "side")[:3]
    assert [e["class"] for e in sides] == ["side before", "side after", "side also-0"]
    assert "Ochre." in sides[2]["text"]
    (told,) = parsed.all("details", "further")
    assert "over-generate: Collapse fell; quality may not have held;" in " ".join(
        told["text"].split()
    )


def test_a_further_comparison_starts_from_the_same_model():
    with pytest.raises(ValueError, match="'other' starts from 'elsewhere'"):
        render(comparison(), also={"other": comparison(labels=("elsewhere", "x"))})
    with pytest.raises(ValueError, match="at most 4"):
        render(comparison(), also={str(number): comparison() for number in range(5)})


# How it was measured


def test_recipe_notes_and_commands_are_told():
    plain = comparison()
    plain.details["commands"] = ["diversify compare a b", "diversify report c"]
    parsed = Page(render(plain))
    for told in (
        "open-ended, version 3, 3 prompts",
        "minilm (revision r7), ngram-2",
        "777 resamples, seed 5",
        "relevance (quality relevance, model e5)",
        "diversify 9.9",
        "abc1234",
        "The unit is the prompt.",
        "does not decide alone",
        "diversify compare a b diversify report c",
    ):
        assert told in parsed.text
    differing = [" ".join(e["text"].split()) for e in parsed.all("tr", "differs")]
    rows = parsed.all("section", aria_labelledby="method")[0]["text"]
    assert rows.index("engine.adapter") < rows.index("engine.model")
    assert any("engine.adapter" in row and "my-lora" in row for row in differing)
    assert not any("sampling.temperature" in row for row in differing)
    assert not Page(render(comparison())).all("pre")


# From files


def test_from_two_generations_files(tmp_path):
    folders = []
    for name, shift in (("before", 0), ("after", 1)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [
            {
                "id": f"p{n}",
                "prompt": f"Question {n}?",
                "generations": [f"answer {n} {k * shift} of many words" for k in range(4)],
            }
            for n in range(5)
        ]
        (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(folder / "set.jsonl")
    found = compare(*(evaluate(folder) for folder in folders), resamples=200)
    parsed = Page(write_report(found, tmp_path / "report.html").read_text("utf-8"))
    assert parsed.errors == []
    assert len(parsed.all("details", "prompt")) == 5
    assert "ngram-2" in parsed.text
