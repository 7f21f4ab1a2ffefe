"""The store on disk. That it survives kills and shared use is tested with the embedders' rows."""

import hashlib
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from diversify import cache
from diversify.cache import DiskCache, cache_key, open_cache


def test_keeps_what_was_written_and_knows_nothing_else(tmp_path: Path) -> None:
    one = DiskCache(tmp_path / "deep" / "er" / "file")
    assert one.read([b"a"]) == {}
    one.write({b"a": b"1", b"b": b""})
    assert DiskCache(one.path).read([b"b", b"a", b"c"]) == {b"a": b"1", b"b": b""}
    assert pickle.loads(pickle.dumps(one)).read([b"a"]) == {b"a": b"1"}


def test_the_first_value_of_a_key_stays(tmp_path: Path) -> None:
    one = DiskCache(tmp_path / "file")
    one.write({b"a": b"1"})
    one.write({b"a": b"2", b"b": b"3"})
    assert one.read([b"a", b"b"]) == {b"a": b"1", b"b": b"3"}


def test_more_keys_than_fit_in_one_question(tmp_path: Path) -> None:
    one = DiskCache(tmp_path / "file")
    blobs = {str(i).encode(): bytes([i % 256]) for i in range(3 * cache._AT_ONCE + 1)}
    one.write(blobs)
    assert one.read(list(blobs)) == blobs


def test_the_file_has_the_format_of_the_first_release(tmp_path: Path) -> None:
    """One table `rows`; the key is the sha256 of the parts, joined by NUL."""
    path = tmp_path / "file"
    DiskCache(path).write({cache_key("model", "1", "text"): b"row"})
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT key, row FROM rows").fetchall()
    assert found == [(hashlib.sha256(b"model\x001\x00text").digest(), b"row")]


def test_keys_differ_in_every_part_and_take_odd_texts() -> None:
    keys = {cache_key(*p) for p in (("a", "b"), ("ab",), ("b", "a"), ("a", "b", ""), ("\ud800",))}
    assert len(keys) == 5


class TestFill:
    def test_computes_only_what_is_not_there(self, tmp_path: Path) -> None:
        asked: list[list[str]] = []

        def lengths(words: list[str]) -> list[bytes]:
            asked.append(words)
            return [str(len(word)).encode() for word in words]

        one = DiskCache(tmp_path / "file")
        keys = {word: cache_key(word) for word in ("a", "bb", "ccc")}
        one.write({keys["bb"]: b"kept"})
        assert one.fill(keys, lengths) == {"a": b"1", "bb": b"kept", "ccc": b"3"}
        assert one.fill(keys, lengths)["ccc"] == b"3"
        assert asked == [["a", "ccc"]]

    def test_what_was_computed_before_a_failure_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "PER_COMMIT", 2)
        one = DiskCache(tmp_path / "file")
        keys = {number: cache_key(str(number)) for number in range(5)}

        def failing(numbers: list[int]) -> list[bytes]:
            if 2 in numbers:
                raise RuntimeError("out of memory")
            return [b"x" for _ in numbers]

        with pytest.raises(RuntimeError, match="out of memory"):
            one.fill(keys, failing)
        assert set(one.read(list(keys.values()))) == {keys[0], keys[1]}

    def test_a_wrong_number_of_blobs_is_an_error_and_not_kept(self, tmp_path: Path) -> None:
        one = DiskCache(tmp_path / "file")
        with pytest.raises(ValueError, match="shorter"):
            one.fill({"a": b"a", "b": b"b"}, lambda words: [b"1"])
        assert one.read([b"a", b"b"]) == {}


@pytest.mark.parametrize(
    "content", [b"no database at all, but text" * 50, b"SQLite format 3\x00" * 9]
)
def test_a_file_that_is_no_cache_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for use in (lambda one: one.read([b"a"]), lambda one: one.write({b"a": b"1"})):
        with pytest.raises(OSError, match=r"the cache .*file cannot be used: .*delete it"):
            use(DiskCache(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == content


def test_a_cache_that_was_cut_off_says_what_to_do(tmp_path: Path) -> None:
    one = DiskCache(tmp_path / "file")
    one.write({b"%d" % i: b"x" * 500 for i in range(100)})
    one.path.write_bytes(one.path.read_bytes()[: 3 * 4096])
    with pytest.raises(OSError, match="cannot be used"):
        one.read([b"%d" % i for i in range(100)])


def test_the_option_names_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
    usual = open_cache(True, "things.sqlite")
    assert usual is not None and usual.path == tmp_path / "things.sqlite"
    other = open_cache(tmp_path / "other", "things.sqlite")
    assert other is not None and other.path == tmp_path / "other"
    assert open_cache(False, "things.sqlite") is None
