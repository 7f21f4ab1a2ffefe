"""What would be seen anyway: the exact means, by counting every case."""

from itertools import combinations, product

import numpy as np
import pytest

from diversify.evaluation.hivemind import source_overlap
from diversify.evaluation.protocols.chance import expected_overlap, random_groups, random_similarity


def unit_rows(seed: int, *shape: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape) + 0.5
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class TestRandomPairs:
    def test_is_the_mean_over_answers_to_different_prompts(self) -> None:
        """Each pair of prompts counts the same, whatever the numbers of answers."""
        E = [unit_rows(0, 4, 6), unit_rows(1, 2, 6), unit_rows(2, 3, 6)]
        blocks = [(one @ other.T).mean() for one, other in combinations(E, 2)]
        assert random_similarity(E) == pytest.approx(np.mean(blocks))

    def test_groups_have_it_for_their_mean(self) -> None:
        """Two prompts of two answers: a group is one of four pairs."""
        E = unit_rows(3, 2, 2, 4)
        pairs = [E[0, i] @ E[1, j] for i, j in product(range(2), repeat=2)]
        found = np.concatenate([random_groups(E, seed=seed) for seed in range(20)])
        assert {round(value, 9) for value in found} == {round(value, 9) for value in pairs}
        many = random_groups(unit_rows(4, 300, 5, 4), seed=1)
        assert many.mean() == pytest.approx(random_similarity(unit_rows(4, 300, 5, 4)), abs=0.02)

    def test_no_group_has_two_answers_to_one_prompt(self) -> None:
        """Each prompt has an axis of its own, so any two of one group are orthogonal."""
        E = [np.tile(axis, (9, 1)) for axis in np.eye(5)]
        assert random_groups(E).tolist() == [0.0] * 5
        assert random_groups([axis[:1] for axis in E]).tolist() == [0.0] * 5

    def test_the_seed_decides(self) -> None:
        E = unit_rows(5, 6, 4, 3)
        assert np.array_equal(random_groups(E, seed=2), random_groups(E, seed=2))
        assert not np.array_equal(random_groups(E, seed=2), random_groups(E, seed=3))

    @pytest.mark.parametrize("number", [random_similarity, random_groups])
    def test_one_prompt_has_no_floor(self, number) -> None:
        with pytest.raises(ValueError, match="two or more prompts, got 1"):
            number([np.eye(2)])
        with pytest.raises(ValueError, match="number 0 has 2"):
            number([2 * np.eye(2), np.eye(2)])


class TestExpectedOverlap:
    @pytest.mark.parametrize("counts", [[2, 2], [1, 3], [1, 2, 2]])
    def test_is_the_mean_over_all_neighbourhoods(self, counts: list[int]) -> None:
        sources = np.repeat(range(len(counts)), counts).tolist()
        for nearest in range(1, sum(counts)):
            each = []
            for i in range(len(sources)):
                others = sources[:i] + sources[i + 1 :]
                near = [len({*some}) for some in combinations(others, nearest)]
                each.append(np.mean(near))
            found = expected_overlap(counts, nearest=nearest)
            assert found[-1] == pytest.approx(np.mean(each)) and len(found) == nearest

    def test_is_what_random_directions_give(self) -> None:
        E, sources = unit_rows(6, 200, 60), list("abcd") * 50
        E = E - E.mean(axis=0)
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        expected = expected_overlap([50] * 4, nearest=5)
        assert source_overlap(E, sources, nearest=5) == pytest.approx(expected, abs=0.15)

    def test_options_are_checked(self) -> None:
        with pytest.raises(ValueError, match="a count must be at least 1"):
            expected_overlap([2, 0])
        with pytest.raises(ValueError, match="nearest must be between 1 and 3"):
            expected_overlap([2, 2], nearest=4)
