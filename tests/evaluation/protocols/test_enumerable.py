"""Questions with a list of answers: rates and distances to a target, by hand and exactly."""

import math
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare, entropy

from diversify.evaluation.enumerable import (
    answer_counts,
    chi_square,
    coverage,
    coverage_at,
    expected_kl,
    kl_divergence,
    valid_rate,
)
from diversify.evaluation.generate import Run
from diversify.evaluation.protocols import score_protocol


def test_invalid_texts_lower_the_rate_and_count_nowhere_else() -> None:
    named = [2, None, 0, 2, None]
    assert valid_rate(named) == 0.6
    assert answer_counts(named, 3).tolist() == answer_counts([2, 0, 2], 3).tolist() == [1, 0, 2]
    assert coverage(answer_counts(named, 3)) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="one text or more"):
        valid_rate([])
    with pytest.raises(ValueError, match="an answer must be between 0 and 2"):
        answer_counts([3], 3)


class TestDistances:
    def test_always_the_same_answer(self) -> None:
        """A hundred times one of ten: KL is log 10, chi-square 90^2 / 10 + 9 * 10 = 900."""
        counts = np.array([100] + [0] * 9)
        assert kl_divergence(counts) == pytest.approx(math.log(10))
        assert chi_square(counts) == pytest.approx(900)

    def test_exactly_the_target_is_zero(self) -> None:
        assert kl_divergence(np.array([5, 5, 5])) == pytest.approx(0.0)
        assert chi_square(np.array([5, 5, 5])) == pytest.approx(0.0)
        assert kl_divergence(np.array([1, 3]), [0.25, 0.75]) == pytest.approx(0.0)
        assert chi_square(np.array([1, 3]), [0.25, 0.75]) == pytest.approx(0.0)

    def test_are_scipys(self) -> None:
        counts, target = np.array([7, 0, 2, 11]), np.array([0.4, 0.1, 0.2, 0.3])
        assert kl_divergence(counts, target) == pytest.approx(entropy(counts, target))
        expected = chisquare(counts, 20 * target).statistic
        assert chi_square(counts, target) == pytest.approx(expected)

    def test_the_target_matters(self) -> None:
        counts = np.array([3, 1])
        assert kl_divergence(counts, [0.25, 0.75]) != kl_divergence(counts)
        assert chi_square(counts, [0.25, 0.75]) != chi_square(counts)

    def test_nothing_valid_has_no_distribution(self) -> None:
        assert kl_divergence(np.zeros(3, dtype=int)) is None
        assert chi_square(np.zeros(3, dtype=int)) is None

    @pytest.mark.parametrize("target", [[0.5, 0.6], [1.0, 0.0], [0.5, 0.3, 0.2], [np.nan, 1.0]])
    @pytest.mark.parametrize("distance", [kl_divergence, chi_square])
    def test_what_is_no_target_is_refused(self, distance, target) -> None:
        with pytest.raises(ValueError, match="2 probabilities above 0 of sum 1"):
            distance(np.array([1, 1]), target)

    @pytest.mark.parametrize("counts", [[-1, 2], [0.5, 1.0], [], [[1, 2]]])
    def test_what_is_no_counts_is_refused(self, counts) -> None:
        for number in (kl_divergence, chi_square, coverage):
            with pytest.raises(ValueError, match="counts must be"):
                number(np.array(counts))


class TestCoverageAt:
    @pytest.mark.parametrize("named", [[0, 0, 1, None, 2], [None, None, 3], [1, 1, 1, 1]])
    def test_is_the_mean_over_all_subsets(self, named: list[int | None]) -> None:
        for draws in range(1, len(named) + 1):
            each = [len({*some} - {None}) / 4 for some in combinations(named, draws)]
            assert coverage_at(named, 4, draws=draws) == pytest.approx(np.mean(each))

    def test_ends_are_the_valid_rate_and_the_coverage(self) -> None:
        """Of five texts three are valid and name two of ten answers."""
        named = [7, None, 7, 2, None]
        assert coverage_at(named, 10, draws=1) == pytest.approx(valid_rate(named) / 10)
        assert coverage_at(named, 10, draws=5) == pytest.approx(0.2)
        assert coverage_at(named, 10, draws=5) == pytest.approx(coverage(answer_counts(named, 10)))

    def test_by_hand(self) -> None:
        """Two of a, a, b, nothing: six pairs with 1, 2, 1, 2, 1, 1 answers, of two."""
        assert coverage_at([0, 0, 1, None], 2, draws=2) == pytest.approx(8 / 6 / 2)

    def test_nothing_valid_covers_nothing(self) -> None:
        assert coverage_at([None] * 7, 3, draws=3) == 0.0

    def test_what_cannot_be_drawn_is_refused(self) -> None:
        with pytest.raises(ValueError, match="draws must be between 1 and 2, got 3"):
            coverage_at([0, 1], 2, draws=3)
        with pytest.raises(ValueError, match="one text or more"):
            coverage_at([], 2, draws=1)
        with pytest.raises(ValueError, match="an answer must be between 0 and 1"):
            coverage_at([2], 2, draws=1)


class TestExpectedKl:
    @pytest.mark.parametrize("target", [[0.5, 0.5], [0.2, 0.3, 0.5]])
    def test_is_the_mean_over_all_ways_to_draw(self, target: list[float]) -> None:
        mean = 0.0
        for draws in product(range(len(target)), repeat=4):
            found = kl_divergence(np.bincount(draws, minlength=len(target)), target)
            mean += math.prod(target[draw] for draw in draws) * found
        assert expected_kl(4, target) == pytest.approx(mean)

    def test_one_draw_of_a_uniform_list_is_log_of_its_length(self) -> None:
        assert expected_kl(1, np.full(7, 1 / 7)) == pytest.approx(math.log(7))

    def test_vanishes_with_many_draws(self) -> None:
        """About (L - 1) / (2 n)."""
        assert expected_kl(10_000, np.full(11, 1 / 11)) == pytest.approx(5e-4, rel=0.05)


class TestRuns:
    ANSWERS = [["Peru"], ["Chile"], ["Bolivia"], ["Ecuador"]]  # noqa: RUF012

    def scored(self, generations: list[str], **columns):
        row = {"id": "p", "prompt": "A country?", "generations": generations, **columns}
        return score_protocol(Run(Path("run"), {}, [row]), "enumerable@1").rows[0]

    def test_by_hand(self) -> None:
        """Valid: Peru, Peru, Chile and, first of two, Bolivia; shares 1/2, 1/4, 1/4, 0 of four."""
        texts = ["Peru", "It is peru!", "Chile", "Bolivia or Ecuador", "Perugia"]
        found = self.scored(texts, answers=self.ANSWERS)
        assert found["valid_rate"] == 0.8
        assert found["coverage"] == 0.75 and found["distinct_valid"] == 3
        assert found["answer_counts"] == [2, 1, 1, 0]
        assert found["answer_entropy"] == pytest.approx(1.5 * math.log(2))
        assert found["kl"] == pytest.approx(0.5 * math.log(2))
        assert found["chi_square"] == pytest.approx(2.0)
        assert found["expected_kl"] == pytest.approx(expected_kl(4, np.full(4, 0.25)))

    def test_runs_of_different_length_compare_at_the_same_number_of_draws(self) -> None:
        """Five of ten texts, half of them each: one answer only in 2 of 252 subsets of five."""
        texts = ["Peru"] * 5 + ["Chile"] * 5
        found = self.scored(texts, answers=self.ANSWERS)
        assert found["coverage_at_5"] == pytest.approx((2 - 2 / 252) / 4)
        assert found["coverage_at_10"] == found["coverage"] == 0.5
        assert "coverage_at_20" not in found
        rows = [
            {"id": i, "prompt": "?", "generations": ["Peru"] * n, "answers": self.ANSWERS}
            for i, n in (("p", 3), ("q", 5))
        ]
        report = score_protocol(Run(Path("run"), {}, rows), "enumerable@1")
        assert [row["coverage_at_5"] for row in report.rows] == [None, 0.25]
        assert report.summary["unscored"]["coverage_at_5"] == 1

    def test_a_row_may_bring_its_target(self) -> None:
        target = [0.5, 0.25, 0.125, 0.125]
        found = self.scored(["Peru"] * 4, answers=self.ANSWERS, target=target)
        assert found["kl"] == pytest.approx(math.log(2))
        with pytest.raises(ValueError, match="a target must be 4 probabilities"):
            self.scored(["Peru"], answers=self.ANSWERS, target=[0.5, 0.5])

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"target": "x"}, "a target must be 4 probabilities above 0 of sum 1, got 'x'"),
            ({"target": {"Peru": 1}}, r"a target must be 4 probabilities .* got \{'Peru': 1\}"),
            (
                {"target": [[1], [2, 3]]},
                r"a target must be 4 probabilities .* got \[\[1\], \[2, 3\]\]",
            ),
            ({"target": [0.1] * 4}, r"got \[0\.1, 0\.1, 0\.1, 0\.1\] of shape \(4,\), sum 0\.4"),
            ({"target": [10**400] * 4}, "a target must be 4 probabilities above 0 of sum 1"),
            ({"answers": ["Peru"]}, "an answer is a list of aliases, got the bare string 'Peru'"),
            ({"answers": [["Peru", " "]]}, "must have a visible character, got ' '"),
        ],
    )
    def test_a_row_that_cannot_be_scored_is_named(self, columns, message: str) -> None:
        with pytest.raises(ValueError, match=f"^run, prompt 'p': .*{message}"):
            self.scored(["Peru"], **({"answers": self.ANSWERS} | columns))

    def test_a_number_is_valid_as_a_whole(self) -> None:
        """Of four texts two name a digit: 5 and, of the list without spaces, 2."""
        digits = [[str(digit)] for digit in range(2, 10)]
        found = self.scored(["4.5", "10,000", "It is 5.", "2,4,8"], answers=digits)
        assert found["valid_rate"] == 0.5
        assert found["answer_counts"] == [1, 0, 0, 1, 0, 0, 0, 0]

    def test_nothing_valid_is_a_rate_of_zero_and_no_distribution(self) -> None:
        found = self.scored(["Rome", ""], answers=self.ANSWERS)
        assert found["valid_rate"] == found["coverage"] == 0.0
        assert found["kl"] is found["chi_square"] is found["answer_entropy"] is None

    def test_prompts_without_a_list_are_counted(self) -> None:
        rows = [
            {"id": "p", "prompt": "?", "generations": ["Peru"], "answers": self.ANSWERS},
            {"id": "q", "prompt": "?", "generations": ["Peru"]},
        ]
        report = score_protocol(Run(Path("run"), {}, rows), "enumerable@1")
        assert report.summary["unscored"]["valid_rate"] == 1
        assert report.mean("valid_rate") == 1.0
        with pytest.raises(ValueError, match="no prompt of run has valid answers"):
            score_protocol(Run(Path("run"), {}, rows[1:]), "enumerable@1")

    def test_options_of_other_protocols_are_refused(self) -> None:
        with pytest.raises(ValueError, match="enumerable@1 has no option embedder"):
            score_protocol(Run(Path("run"), {}, []), "enumerable@1", embedder=None)
