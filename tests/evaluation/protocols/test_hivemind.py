"""Artificial Hivemind: likeness within a model, between models, and of wordings, by hand."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from diversify.evaluation import hivemind
from diversify.evaluation.generate import Run
from diversify.evaluation.hivemind import (
    inter_similarity,
    intra_similarity,
    paraphrase_similarity,
    similarity_histogram,
    source_overlap,
)
from diversify.evaluation.protocols import score_protocol
from diversify.evaluation.protocols.hivemind_runs import (
    score_intra,
    score_models,
    score_paraphrases,
)
from diversify.kernels import EmbeddingKernel
from diversify.measures import mean_distance


def unit_rows(seed: int, *shape: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class TestIntra:
    def test_is_the_mean_of_the_upper_triangle(self) -> None:
        E = unit_rows(0, 50, 16) + 0.3
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        gram = E @ E.T
        assert intra_similarity(E) == pytest.approx(gram[np.triu_indices(50, k=1)].mean())

    def test_is_one_minus_the_mean_distance(self, tiny_embedder) -> None:
        texts = ["a red fox", "the red fox", "a blue whale", "two frogs"]
        S = EmbeddingKernel(tiny_embedder)(texts)
        assert intra_similarity(tiny_embedder(texts)) == pytest.approx(1 - mean_distance(S))

    def test_by_hand(self) -> None:
        """Cosines 1, 0, 0: mean 1/3. Opposed rows: -1."""
        assert intra_similarity([[1, 0], [1, 0], [0, 1]]) == pytest.approx(1 / 3)
        assert intra_similarity([[1, 0], [-1, 0]]) == -1

    def test_rounding_takes_no_collapsed_prompt_out_of_the_histogram(self) -> None:
        """Rows of single precision are often a little longer than 1."""
        row = np.array([[0.6, 0.8]], dtype=np.float32) * np.float32(1 + 3e-7)
        value = intra_similarity(np.repeat(row, 50, axis=0))
        assert value <= 1.0 and value == pytest.approx(1.0)
        assert similarity_histogram([value])[-1] == 100

    @pytest.mark.parametrize(
        ("E", "message"),
        [
            ([[1.0, 0.0]], "two or more rows"),
            ([[1.0, 0.0], [0.5, 0.0]], "number 1 has 0.5"),
            ([[1.0, 0.0], [np.nan, 0.0]], "number 1 has nan"),
            ([1.0, 0.0], "shape"),
            (np.empty((0, 3)), "shape"),
        ],
    )
    def test_what_is_no_rows_is_refused(self, E, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            intra_similarity(E)


class TestHistogram:
    def test_edges_belong_to_the_upper_tenth(self) -> None:
        counts = similarity_histogram([0.0, 0.1, 0.8, 0.79999, 1.0])
        assert counts.tolist() == [20, 20, 0, 0, 0, 0, 0, 20, 20, 20]

    def test_three_edges_lie_above_the_number_of_their_name(self) -> None:
        """3 * 0.1 is 0.30000000000000004, and so 0.3 is under the edge, for NumPy and the paper."""
        edges = [tenth / 10 for tenth in range(11)]
        lower = {tenth for tenth in range(10) if edges[tenth] < np.linspace(0, 1, 11)[tenth]}
        assert lower == {3, 6, 7}
        for tenth in range(10):
            found = similarity_histogram([edges[tenth]])
            assert found.argmax() == tenth - (tenth in lower)

    def test_what_is_outside_stays_among_the_prompts(self) -> None:
        assert similarity_histogram([-0.2, 0.5, 1.1, 0.55]).sum() == 50

    def test_is_numpys(self) -> None:
        values = np.random.default_rng(0).uniform(-0.1, 1.1, size=1000)
        counts, _ = np.histogram(values, bins=10, range=(0, 1))
        assert np.array_equal(similarity_histogram(values), counts / 10)

    @pytest.mark.parametrize("values", [[], [0.5, np.nan], 0.5, [[0.5]]])
    def test_what_is_no_values_is_refused(self, values) -> None:
        with pytest.raises(ValueError, match="finite numbers"):
            similarity_histogram(values)


class TestInter:
    def test_is_the_mean_over_all_pairs_of_answers(self) -> None:
        E = unit_rows(1, 3, 4, 5, 8)  # models, prompts, answers, dimensions
        found = inter_similarity(E, exclude_self=False)
        for a in range(3):
            for b in range(3):
                blocks = [(E[a, p] @ E[b, p].T).mean() for p in range(4)]
                assert found[a, b] == pytest.approx(np.mean(blocks))

    def test_the_published_diagonal_is_corrected_by_its_formula(self) -> None:
        """With 50 answers: (50 d - 1) / 49; 67.7 of the tables becomes 67.0."""
        E = unit_rows(2, 2, 3, 50, 8)
        kept = np.diag(inter_similarity(E, exclude_self=False))
        found = inter_similarity(E)
        assert np.diag(found) == pytest.approx((50 * kept - 1) / 49)
        assert np.diag(found) == pytest.approx(
            [np.mean([intra_similarity(rows) for rows in own]) for own in E]
        )
        assert (50 * 67.7 - 100) / 49 == pytest.approx(67.0, abs=0.05)
        assert (50 * 88.2 - 100) / 49 == pytest.approx(88.0, abs=0.05)
        off = ~np.eye(2, dtype=bool)
        assert np.array_equal(found[off], inter_similarity(E, exclude_self=False)[off])

    def test_models_may_have_different_numbers_of_answers(self) -> None:
        one, two = unit_rows(3, 2, 5, 4), unit_rows(4, 2, 3, 4)
        expected = np.mean([(one[p] @ two[p].T).mean() for p in range(2)])
        assert inter_similarity([one, two])[0, 1] == pytest.approx(expected)

    def test_different_prompts_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"same prompts, one or more; got \[1, 2\]"):
            inter_similarity([unit_rows(0, 2, 3, 4), unit_rows(0, 1, 3, 4)])
        with pytest.raises(ValueError, match="same prompts"):
            inter_similarity([[], []])


class TestOverlap:
    def test_is_what_counting_by_hand_gives(self) -> None:
        E, sources = unit_rows(5, 20, 4), ["a", "b", "c", "d"] * 5
        found = source_overlap(E, sources, nearest=19)
        cosine = E @ E.T
        for n in (1, 2, 7, 19):
            counts = []
            for i in range(20):
                others = sorted((j for j in range(20) if j != i), key=lambda j: -cosine[i, j])
                counts.append(len({sources[j] for j in others[:n]}))
            assert found[n - 1] == pytest.approx(np.mean(counts))

    def test_models_apart_and_models_alike(self) -> None:
        """Each model on its own axis: the nearest are its own. All alike: the first ones are."""
        apart = np.repeat(np.eye(3), 4, axis=0)
        sources = np.repeat(["x", "y", "z"], 4).tolist()
        assert source_overlap(apart, sources, nearest=3).tolist() == [1, 1, 1]
        mixed = source_overlap(np.tile(np.eye(4), (3, 1)), sources, nearest=2)
        assert mixed.tolist() == [1, 2]

    def test_options_are_checked(self) -> None:
        with pytest.raises(ValueError, match="between 1 and 3"):
            source_overlap(np.eye(4), list("aabb"), nearest=4)
        with pytest.raises(ValueError, match="3 sources for 4 rows"):
            source_overlap(np.eye(4), list("aab"), nearest=1)


class TestParaphrases:
    def test_is_the_mean_over_pairs_of_answers(self) -> None:
        E = unit_rows(6, 5, 20, 8)
        within = np.mean([intra_similarity(rows) for rows in E])
        across = np.mean([(E[a] @ E[b].T).mean() for a, b in combinations(range(5), 2)])
        assert paraphrase_similarity(E) == pytest.approx((within, across))

    def test_one_wording_is_no_comparison(self) -> None:
        with pytest.raises(ValueError, match="two or more wordings"):
            paraphrase_similarity([np.eye(2)])


def test_the_settings_are_the_published_ones() -> None:
    top_p, min_p = hivemind.TOP_P, hivemind.MIN_P
    assert (top_p.temperature, top_p.top_p, top_p.min_p, top_p.top_k) == (1.0, 0.9, None, 0)
    assert (min_p.temperature, min_p.top_p, min_p.min_p, min_p.top_k) == (2.0, 1.0, 0.1, 0)
    assert top_p.max_tokens == min_p.max_tokens == 2048
    assert hivemind.SAMPLES == 50


class Axes:
    """Each first word has an axis; the second word, if any, is mixed in."""

    name, revision = "all-MiniLM-L6-v2", "test"

    def __call__(self, texts):
        rows = np.zeros((len(texts), 26))
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[ord(word[0]) - ord("a")] += 1.0
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def run_of(name: str, settings=None, **groups: list[str]) -> Run:
    rows = [{"id": i, "prompt": f"prompt {i}", "generations": group} for i, group in groups.items()]
    return Run(Path(name), settings or {}, rows)


class TestRuns:
    def test_one_model(self, tmp_path: Path) -> None:
        """Cosines: 1 in the first prompt; 0 in the second; one answer in the third."""
        run = run_of("run", p=["a", "a", "a"], q=["a", "b"], r=["a"])
        report = score_protocol(run, "hivemind@1-minilm", embedder=Axes())
        assert [row["intra_similarity"] for row in report.rows] == pytest.approx([1.0, 0.0, None])
        assert report.mean("intra_similarity") == pytest.approx(0.5)
        assert report.summary["results"]["histogram"] == [50, 0, 0, 0, 0, 0, 0, 0, 0, 50]
        assert report.summary["results"]["percent_above_0.8"] == 50
        assert report.summary["unscored"] == {"intra_similarity": 1}
        assert report.summary["departures"][:2] == [
            "3 prompts instead of 100",
            "1 to 3 answers a prompt instead of 50",
        ]
        assert json.loads(report.save(tmp_path).read_text())["protocol"] == "hivemind@1-minilm"

    def test_either_way_of_sampling_will_do(self) -> None:
        for wanted in (hivemind.TOP_P, hivemind.MIN_P):
            sampling = {**vars(wanted), "seed": 5}
            settings = {"sampling": sampling, "strategy": {"name": "direct"}}
            run = run_of("run", settings, **{f"p{i}": ["a"] * 50 for i in range(100)})
            assert score_intra(run, embedder=Axes()).summary["departures"] == []
            settings["engine"] = {"model": "m", "decoder": "temperature=1.5"}
            departures = score_intra(run, embedder=Axes()).summary["departures"]
            assert departures == ["decoder temperature=1.5"]
            del settings["engine"]
            settings["sampling"] = sampling | {"max_tokens": 64}
            departures = score_intra(run, embedder=Axes()).summary["departures"]
            assert departures == ["max_tokens 64 instead of 2048"]

    def test_the_floor_stands_beside_the_numbers(self) -> None:
        """Between prompts: (1 + 0 + 0) / 3, since p and q say the same. Groups have two prompts."""
        run = run_of("run", p=["a", "a"], q=["a", "a"], r=["b", "b"])
        results = score_intra(run, embedder=Axes()).summary["results"]
        assert results["random_similarity"] == pytest.approx(1 / 3)
        histogram = results["random_histogram"]
        assert sum(histogram) == pytest.approx(100) and sum(histogram[1:9]) == 0
        alone = score_intra(run_of("run", p=["a", "a"]), embedder=Axes()).summary["results"]
        assert alone["random_similarity"] is alone["random_histogram"] is None

    def test_the_seed_draws_other_pairs(self) -> None:
        run = run_of("run", **{f"p{i}": ["a", "b"] for i in range(20)})
        seen = [score_intra(run, embedder=Axes(), seed=seed).summary for seed in (0, 0, 1)]
        one, again, other = (summary["results"]["random_histogram"] for summary in seen)
        assert one == again != other
        assert seen[2]["config"]["seed"] == 1

    def test_another_embedder_gets_another_name(self, tiny_embedder) -> None:
        run = run_of("run", p=["a", "b"])
        with pytest.raises(ValueError, match="measured with all-MiniLM-L6-v2, got hashing"):
            score_protocol(run, "hivemind@1-minilm", embedder=tiny_embedder)
        assert score_intra(run, embedder=tiny_embedder).protocol == "hivemind@1-hashing"

    def test_several_models(self) -> None:
        """x and y say the same, z something else; in the second prompt all differ."""
        runs = {
            "x": run_of("x", p=["a", "a"], q=["d", "d"]),
            "y": run_of("y", q=["e", "e"], p=["a", "a"]),
            "z": run_of("z", p=["c", "c"], q=["f", "f"]),
        }
        report = score_models(runs, embedder=Axes(), nearest=2)
        results = report.summary["results"]
        assert results["models"] == ["x", "y", "z"]
        expected = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
        assert np.array(results["inter_similarity"]) == pytest.approx(np.array(expected))
        assert results["inter_similarity_with_self"][0][0] == pytest.approx(1.0)
        assert report.protocol == "hivemind-models@1-minilm"
        assert [row["id"] for row in report.rows] == ["p", "q"]
        # Of two nearest: x finds itself and y, y the earlier two of x, z its twin and a stranger.
        assert report.rows[0]["source_overlap"] == pytest.approx((2 + 1 + 2) / 3)
        assert len(results["source_overlap_curve"]) == 2
        assert results["histograms"] == [[0.0] * 9 + [100.0]] * 3
        assert results["mean_histogram"] == [0.0] * 9 + [100.0]

    def test_models_with_different_prompts_are_refused(self) -> None:
        runs = {"x": run_of("x", p=["a", "a"]), "y": run_of("y", q=["a", "a"])}
        with pytest.raises(ValueError, match="x and y hold different prompts"):
            score_models(runs, embedder=Axes())
        with pytest.raises(ValueError, match="two or more models, got 1"):
            score_models({"x": runs["x"]}, embedder=Axes())

    def test_wordings(self) -> None:
        """Each wording always brings its own answer: 1 within, 0 across."""
        rows = [
            {"id": "p", "prompt": "?", "generations": ["a", "a"]},
            {"id": "p2", "prompt": "??", "generations": ["b", "b"], "paraphrase_of": "p"},
            {"id": "q", "prompt": "!", "generations": ["a", "a"]},
        ]
        run = Run(Path("run"), {}, rows)
        report = score_protocol(run, "hivemind-paraphrases@1-minilm", embedder=Axes())
        assert report.protocol == "hivemind-paraphrases@1-minilm"
        assert report.summary["departures"][:2] == [
            "other than 5 wordings of 2 questions",
            "2 questions instead of 30",
        ]
        assert [row["id"] for row in report.rows] == ["p", "q"]
        assert (report.mean("within"), report.mean("across")) == pytest.approx((1.0, 0.0))
        assert report.mean("difference") == pytest.approx(1.0)
        assert report.summary["unscored"] == {"within": 1, "across": 1, "difference": 1}
        assert report.rows[0]["wordings"] == 2
        for named in (0, 0.0, "0"):
            rows[0] |= {"id": "0"}
            rows[1] |= {"paraphrase_of": named}
            rows[2] |= {"paraphrase_of": "" if named else None}
            report = score_paraphrases(Run(Path("run"), {}, rows), embedder=Axes())
            assert [(row["id"], row["wordings"]) for row in report.rows] == [("0", 2), ("q", 1)]
        rows[1] |= {"paraphrase_of": ["0"]}
        with pytest.raises(ValueError, match=r"prompt 'p2', column 'paraphrase_of': an id is"):
            score_paraphrases(Run(Path("run"), {}, rows), embedder=Axes())
        other = score_paraphrases(run, embedder=Axes(), column="nothing")
        assert [row["wordings"] for row in other.rows] == [1, 1, 1]
