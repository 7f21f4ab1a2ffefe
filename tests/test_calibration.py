"""From labelled pairs to a threshold: by hand, by brute force, and with an error that is honest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diversify.equivalence import Calibration, calibrate, read_pairs
from diversify.equivalence.calibration import LabelledPairs, _best_threshold


def balanced_error(threshold: float, scores: Any, labels: Any) -> float:
    scores, labels = np.asarray(scores), np.asarray(labels)
    called = scores >= threshold
    return float((called[~labels].mean() + (~called)[labels].mean()) / 2)


def random_pairs(seed: int, n: int = 60, signal: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return np.round(rng.normal(size=n) + signal * labels, 1), labels


class TestThreshold:
    def test_by_hand(self) -> None:
        """Same: .9 .8 .4; different: .5 .3 .2 .1. A cut in (.5, .8] misses .4: (1/3 + 0) / 2.

        A cut in (.3, .4] calls .5 the same: (0 + 1/4) / 2, which is less. Its middle is .35.
        """
        scores = [0.9, 0.5, 0.8, 0.3, 0.4, 0.2, 0.1] * 2
        labels = [True, False, True, False, True, False, False] * 2
        found = calibrate(scores, labels)
        assert found.threshold == pytest.approx(0.35)
        assert found.fitted.balanced == pytest.approx(1 / 8)
        assert found.fitted.false_same.value == pytest.approx(1 / 4)
        assert found.fitted.false_different.value == 0.0
        assert found.fitted.error.value == pytest.approx(1 / 7)
        assert (found.fitted.error.wrong, found.fitted.error.of) == (2, 14)
        assert (found.pairs, found.same) == (14, 6)

    def test_among_equal_errors_the_widest_gap(self) -> None:
        """Cuts in (0, .1] and in (.1, .9] err once each way of two: the second gap is wider."""
        scores, labels = [0.0, 0.1, 0.1, 0.9], [False, False, True, True]
        assert balanced_error(0.05, scores, labels) == balanced_error(0.5, scores, labels) == 0.25
        assert _best_threshold(np.array(scores), np.array(labels)) == pytest.approx(0.5)

    def test_no_cut_is_better(self) -> None:
        for seed in range(40):
            scores, labels = random_pairs(seed, signal=seed % 4 / 2)
            cuts = [*np.unique(scores), scores.max() + 1]
            best = min(balanced_error(cut, scores, labels) for cut in cuts)
            threshold = _best_threshold(scores, labels)
            assert balanced_error(threshold, scores, labels) == pytest.approx(best)

    def test_scores_that_say_nothing_or_the_opposite(self) -> None:
        same = calibrate([0.5] * 6, [True, False] * 3)
        assert same.fitted.balanced == 0.5
        opposite = calibrate([0.1, 0.9] * 4, [True, False] * 4)
        assert opposite.fitted.balanced == 0.5

    def test_neighbouring_floats_are_told_apart(self) -> None:
        low = 0.5
        high = float(np.nextafter(low, 1))
        found = calibrate([low, low, high, high], [False, False, True, True])
        assert found.fitted.error.value == 0.0

    def test_neither_order_nor_copies_move_it(self) -> None:
        scores, labels = random_pairs(3)
        order = np.random.default_rng(0).permutation(len(scores))
        threshold = calibrate(scores, labels).threshold
        assert calibrate(scores[order], labels[order]).threshold == threshold
        assert calibrate(np.tile(scores, 3), np.tile(labels, 3)).threshold == threshold

    def test_it_does_not_depend_on_how_many_pairs_are_the_same(self) -> None:
        scores, labels = random_pairs(5)
        more = np.concatenate([scores, np.repeat(scores[labels], 9)])
        found = calibrate(more, np.concatenate([labels, np.repeat(True, 9 * labels.sum())]))
        assert found.threshold == calibrate(scores, labels).threshold


class TestErrors:
    def test_exact_intervals(self) -> None:
        """0 of 10 wrong: Clopper and Pearson's upper end is 1 - 0.025 ** (1/10) = 0.3085."""
        found = calibrate([0.0] * 10 + [1.0] * 10, [False] * 10 + [True] * 10)
        for rate in (found.fitted.false_same, found.held_out.false_different):
            assert (rate.value, rate.low, rate.of) == (0.0, 0.0, 10)
            assert rate.high == pytest.approx(0.3085, abs=1e-4)

    def test_held_out_errors_of_noise_are_honest(self) -> None:
        """Where scores say nothing the fit looks better than a coin, and held out it does not."""
        found = [calibrate(*random_pairs(seed, n=40, signal=0)) for seed in range(30)]
        fitted = np.mean([calibration.fitted.balanced for calibration in found])
        held_out = np.mean([calibration.held_out.balanced for calibration in found])
        assert fitted < 0.44 < 0.46 < held_out < 0.56

    def test_held_out_errors_equal_a_plain_loop(self) -> None:
        """With as many folds as groups each group is judged by the threshold of the others."""
        scores, labels = random_pairs(11)
        groups = np.arange(60) // 10
        found = calibrate(scores, labels, groups=groups.tolist(), folds=6)
        wrong = 0
        for group in range(6):
            out = groups == group
            threshold = _best_threshold(scores[~out], labels[~out])
            wrong += int(((scores[out] >= threshold) != labels[out]).sum())
        assert found.held_out.error.wrong == wrong

    def test_pairs_of_one_group_must_not_vouch_for_each_other(self) -> None:
        """Of one prompt pairs differ at .2 and are the same at .4; of the other at .6 and at .8.

        A prompt held out is judged by the threshold of the other one, .7 or .3: half of all is
        wrong, of either kind. With pairs of both prompts to learn from about a quarter is: .3 and
        .7 both confuse one of four levels.
        """
        scores, labels = [0.2, 0.4, 0.6, 0.8] * 10, [False, True, False, True] * 10
        groups = ["a", "a", "b", "b"] * 10
        grouped = calibrate(scores, labels, groups=groups).held_out
        assert (grouped.false_same.value, grouped.false_different.value) == (0.5, 0.5)
        assert 0.2 < calibrate(scores, labels).held_out.balanced < 0.4

    def test_the_same_seed_gives_the_same(self) -> None:
        scores, labels = random_pairs(2)
        one, again = calibrate(scores, labels, seed=4), calibrate(scores, labels, seed=4)
        assert one == again
        others = {calibrate(scores, labels, seed=seed).held_out for seed in range(8)}
        assert len(others) > 1

    def test_goes_into_json(self) -> None:
        saved = json.loads(json.dumps(calibrate(*random_pairs(1)).to_dict()))
        assert set(saved) == {"threshold", "pairs", "same", "fitted", "held_out"}
        assert set(saved["held_out"]["false_same"]) == {"value", "low", "high", "wrong", "of"}


@pytest.mark.parametrize(
    ("scores", "labels", "options", "message"),
    [
        ([], [], {}, "needs at least 2 pairs of each label, got 0"),
        ([0.5], [True], {}, "needs at least 2 pairs of each label, got 1"),
        ([0.1, 0.9], [True, False], {}, "needs at least 2 pairs of each label"),
        ([0.1, 0.2, 0.9], [False, False, True], {}, "needs at least 2 pairs of each label"),
        ([0.1, 0.9, 0.5], [True] * 3, {}, "all 3 pairs are labelled the same"),
        ([0.1, 0.9], [False] * 2, {}, "all 2 pairs are labelled different"),
        ([0.1, float("nan")], [True, False], {}, "scores must be finite, got nan at 1"),
        ([0.1, float("inf")], [True, False], {}, "scores must be finite, got inf at 1"),
        ([0.1, 0.9], [1, 0], {}, "labels must be booleans, got int64"),
        ([0.1, 0.9], [True], {}, r"scores of shape \(2,\) for labels of shape \(1,\)"),
        ([[0.1, 0.9]], [[True, False]], {}, r"scores of shape \(1, 2\)"),
        ([0.1, 0.9], [True, False], {"groups": ["a"]}, "got 1 groups for 2 scores"),
        ([0.1, 0.9] * 3, [True, False] * 3, {"folds": 1}, "folds must be at least 2"),
        ([0.1, 0.9] * 3, [True, False] * 3, {"groups": list("abababab")[:6]}, "from one group"),
        ([0.1, 0.9] * 3, [True, False] * 3, {"groups": ["a"] * 6}, "from one group"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_with_a_sentence(
    scores, labels, options, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate(scores, labels, **options)


class TestReadPairs:
    def write(self, folder: Path, *rows: Any) -> Path:
        path = folder / "pairs.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    def test_the_usual_columns_and_others(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path, {"a": "x", "b": "y", "same": True}, "", {"a": "x", "b": "z", "same": 0}
        )
        assert read_pairs(path) == LabelledPairs([("x", "y"), ("x", "z")], [True, False], None)
        path = self.write(tmp_path, {"text1": "x", "text2": "y", "same": False, "p": [1]})
        assert read_pairs(path, group="p") == ([("x", "y")], [False], ["[1]"])
        path = self.write(tmp_path, {"u": "x", "v": "y", "equal": 1, "a": "z"})
        assert read_pairs(path, columns=("u", "v"), label="equal").pairs == [("x", "y")]

    def test_short_answers_can_be_left_out(self) -> None:
        pairs = [("a b", "c"), ("a b c", "d"), ("e", "f g h")]
        found = LabelledPairs(pairs, [True, False, True], ["p", "q", "r"]).longer_than(2)
        assert found == (pairs[1:], [False, True], ["q", "r"])

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], "holds no pairs"),
            (["{"], "line 1: not valid JSON"),
            (["[1]"], "line 1: expected a JSON object"),
            ([{"a": "x", "same": True}], "line 1 has no column 'b', only"),
            ([{"x": "x", "same": True}], "line 1 has no column 'a', only"),
            ([{"text1": "x", "same": True}], "line 1 has no column 'text2'"),
            ([{"a": "x", "b": "y"}], "has no column 'same'"),
            ([{"a": "x", "b": 3, "same": True}], "'a' and 'b' must be texts"),
            (
                [{"a": "x", "b": "y", "same": "yes"}],
                "'same' must be true, false, 1 or 0, got 'yes'",
            ),
            ([{"a": "x", "b": "y", "same": None}], "'same' must be true"),
            ([{"a": "x", "b": "y", "same": 0.5}], "'same' must be true"),
        ],
    )
    def test_a_wrong_row_is_named(self, tmp_path: Path, rows, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read_pairs(self.write(tmp_path, *rows))

    def test_a_missing_group_is_named(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"a": "x", "b": "y", "same": True})
        with pytest.raises(ValueError, match="no column 'prompt'"):
            read_pairs(path, group="prompt")


def test_a_calibration_is_a_value() -> None:
    assert isinstance(calibrate(*random_pairs(0)), Calibration)
    assert calibrate(*random_pairs(0)) == calibrate(*random_pairs(0))
