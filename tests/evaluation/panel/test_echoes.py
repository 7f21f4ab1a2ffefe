"""Who echoes whom: by hand, against every permutation, and under the null."""

from itertools import permutations

import numpy as np
import pytest

from diversify.evaluation.panel.echoes import cross_floor, echoes


def mean_rows(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[-1])


def test_the_floor_is_the_mean_over_pairs_of_different_prompts() -> None:
    one, other = mean_rows(0, 5, 3), mean_rows(1, 5, 3)
    pairs = [one[p] @ other[q] for p in range(5) for q in range(5) if p != q]
    assert cross_floor(one, other) == pytest.approx(np.mean(pairs))
    assert cross_floor(one[:1], other[:1]) is None


class TestEchoes:
    def test_by_hand(self) -> None:
        """a and b share both answers; c shares one with each, and is nearer to a by its order."""
        east, north = [1.0, 0.0], [0.0, 1.0]
        found = echoes([[east, north], [east, north], [north, north]], ["a", "b", "c"])
        assert {name: echo.nearest for name, echo in found.items()} == {
            "a": "b",
            "b": "a",
            "c": "a",
        }
        assert [found[name].similarity for name in "abc"] == [1.0, 1.0, 0.5]
        # East with north, and north with east: 0. North with north and with east: (0 + 1) / 2.
        assert [found[name].floor for name in "abc"] == [0.0, 0.0, 0.5]
        # Two orders of two prompts: one of them is the observed one. c is the same in any order.
        assert 0.4 < found["a"].p_value and found["c"].p_value == 1.0

    def test_the_p_value_is_the_share_of_all_permutations(self) -> None:
        """Random orders go to the exact share, of the largest similarity, of 120 orders."""
        mu = mean_rows(2, 3, 5, 4)
        mu[1] += 0.3 * mu[0]
        found = echoes(mu, ["a", "b", "c"], resamples=20_000)
        exact = []
        for a in range(3):
            largest = [
                max(np.mean([mu[a, o[p]] @ mu[b, p] for p in range(5)]) for b in range(3) if b != a)
                for o in permutations(range(5))
            ]
            exact.append(np.mean(np.array(largest) >= largest[0] - 1e-12))
        order = np.argsort(exact)
        holm = np.maximum.accumulate(np.minimum(1, np.array(exact)[order] * [3, 2, 1]))
        corrected = dict(zip(np.array(list("abc"))[order], holm, strict=True))
        for name, echo in found.items():
            assert echo.p_value == pytest.approx(corrected[name], abs=0.02)

    def test_answers_that_know_nothing_of_the_prompt_are_rarely_called_echoes(self) -> None:
        """At 5 %, corrected, in about 5 % of 60 panels: more than 6 have a chance of 3 %."""
        called = [
            min(
                e.p_value
                for e in echoes(mean_rows(s, 3, 12, 4), list("abc"), resamples=199).values()
            )
            <= 0.05
            for s in range(60)
        ]
        assert sum(called) <= 6

    def test_a_style_of_its_own_is_no_echo(self) -> None:
        """a and b share their answers; c gives one answer whatever is asked, like b's style."""
        answers, style = mean_rows(3, 20, 6), np.eye(6)[0]
        other = answers + 0.1 * mean_rows(4, 20, 6) + 2 * style
        found = echoes([answers, other, np.tile(style, (20, 1))], ["a", "b", "c"], resamples=999)
        assert found["a"].nearest == "b" and found["a"].p_value == pytest.approx(0.003)
        assert found["c"].nearest == "b" and found["c"].similarity > found["a"].similarity
        assert found["c"].similarity == pytest.approx(found["c"].floor)
        assert found["c"].p_value == 1.0

    def test_support_tells_a_clear_choice_from_a_tie(self) -> None:
        """b repeats a; c and d are equally near to each other's rival."""
        a = mean_rows(5, 40, 8)
        clear = np.stack([a, a + 0.1 * mean_rows(6, 40, 8), mean_rows(7, 40, 8)])
        assert echoes(clear, list("abc"), resamples=500)["a"].support == 1.0
        tied = np.stack([a, a + mean_rows(8, 40, 8), a + mean_rows(9, 40, 8)])
        assert 0.2 < echoes(tied, list("abc"), resamples=500)["a"].support < 0.98

    def test_one_prompt_has_neither_floor_nor_test(self) -> None:
        (found, _) = echoes([[[1.0, 0.0]], [[0.6, 0.8]]], ["a", "b"]).values()
        assert found == ("b", 0.6, None, 1.0, None)

    def test_the_seed_and_the_resamples_decide(self) -> None:
        a = mean_rows(10, 8, 3)
        mu = np.stack([a, mean_rows(12, 8, 3) + 0.8 * a])
        options = {"models": ["a", "b"], "resamples": 50}
        one, same, other = (echoes(mu, seed=s, **options)["a"].p_value for s in (0, 0, 1))
        more = echoes(mu, ["a", "b"], resamples=71)["a"].p_value
        assert one == same and len({one, other, more}) == 3

    def test_what_is_no_panel_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"shape \(1, 2, 3\) and 1 names"):
            echoes(np.zeros((1, 2, 3)), ["a"])
        with pytest.raises(ValueError, match="and 1 names"):
            echoes(np.zeros((2, 2, 3)), ["a"])
        with pytest.raises(ValueError, match="resamples must be at least 1"):
            echoes(np.zeros((2, 2, 3)), ["a", "b"], resamples=0)
