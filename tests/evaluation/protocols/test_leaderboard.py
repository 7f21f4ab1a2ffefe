"""The leaderboard's mean: published numbers, weights by hand, and what is never joined."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from diversify.evaluation.protocol_report import ProtocolReport
from diversify.evaluation.protocols.leaderboard import leaderboard, weighted_mean


def report(
    prompts: int,
    distinct: float | None = 2.0,
    error: float | None = 0.1,
    *,
    protocol: str = "noveltybench@1.0-classifier",
    **config: object,
) -> ProtocolReport:
    summary = {
        "protocol": protocol,
        "run": f"runs/{prompts}",
        "results": {"distinct_k": distinct, "distinct_k_stderr": error, "recorded_partition": {}},
        "n_prompts": prompts,
        "answers": {"number": 10 * prompts, "blank": 0, "truncated": None},
        "unscored": {} if distinct is not None else {"distinct_k": prompts},
        "departures": ["sampling unknown"] if prompts == 100 else [],
        "config": {"partition": {"threshold": 0.102}, "quality": None, "patience": 0.8}
        | {"settings": {"engine": {"model": "m"}}}
        | config,
        "versions": {"diversify": "1"},
    }
    return ProtocolReport(protocol, summary, [{"id": str(i)} for i in range(prompts)])


class TestWeightedMean:
    def test_a_published_row(self) -> None:
        """Llama-3.2-1B: 6.99 on curated and 6.74 in all, so about 6.715 on wildchat."""
        mean, _ = weighted_mean([6.99, 6.715], [None, None], [100, 1000])
        assert mean == pytest.approx(6.74, abs=0.005)

    def test_the_error_by_hand(self) -> None:
        """(100 * .3)^2 + (1000 * .04)^2 = 900 + 1600; its root over 1100."""
        mean, error = weighted_mean([2.0, 3.1], [0.3, 0.04], [100, 1000])
        assert mean == pytest.approx(3.0) and error == pytest.approx(50 / 1100)
        assert weighted_mean([2.0, 3.1], [0.3, None], [1, 1])[1] is None

    def test_what_is_no_weights_is_refused(self) -> None:
        for means, errors, weights in (([], [], []), ([1.0], [None], [0]), ([1.0], [], [1])):
            with pytest.raises(ValueError, match="positive weight for each"):
                weighted_mean(means, errors, weights)


class TestLeaderboard:
    def test_both_sets_whole_are_the_mean_over_all_prompts(self, tmp_path: Path) -> None:
        found = leaderboard(report(100, 4.3), report(1000, 1.0))
        assert found.mean("distinct_k") == pytest.approx((430 + 1000) / 1100)
        assert found.mean("distinct_k_stderr") == pytest.approx(math.hypot(10, 100) / 1100)
        assert found.summary["n_prompts"] == len(found.rows) == 1100
        assert [row["set"] for row in (found.rows[0], found.rows[-1])] == ["curated", "wildchat"]
        assert found.summary["departures"] == ["curated: sampling unknown"]
        assert found.summary["answers"]["wildchat"]["number"] == 10_000
        assert found.summary["config"]["weights"] == {"curated": 100, "wildchat": 1000}
        path = found.save(tmp_path)
        assert path.parent.name == "noveltybench-leaderboard@1.0-classifier"
        assert json.loads(path.read_text())["run"]["wildchat"] == "runs/1000"

    def test_a_part_of_a_set_has_the_weight_of_the_whole(self) -> None:
        found = leaderboard(report(10, 4.3), report(20, 1.0))
        assert found.mean("distinct_k") == pytest.approx((430 + 1000) / 1100)

    def test_a_set_without_a_value_leaves_none_and_is_counted(self) -> None:
        found = leaderboard(report(10), report(20, None))
        assert found.mean("distinct_k") is found.mean("distinct_k_stderr") is None
        assert found.summary["unscored"] == {"distinct_k": 20}

    def test_what_is_never_joined(self) -> None:
        one = report(10)
        other = report(20, partition={"threshold": 0.82})
        with pytest.raises(ValueError, match="differ in partition"):
            leaderboard(one, other)
        with pytest.raises(ValueError, match="differ in quality"):
            leaderboard(one, report(20, quality={"model": "r"}))
        with pytest.raises(ValueError, match="of two models"):
            leaderboard(one, report(20, settings={"engine": {"model": "n"}}))
        with pytest.raises(ValueError, match="two reports of one noveltybench, got"):
            leaderboard(one, report(20, protocol="noveltybench@1.1"))
        with pytest.raises(ValueError, match="two reports of one noveltybench, got"):
            leaderboard(*[replace(one, protocol="enumerable@1")] * 2)
        with pytest.raises(ValueError, match="the curated set comes first"):
            leaderboard(report(1000), report(100))
        leaderboard(one, report(20, settings={}))  # what is not on record cannot differ
