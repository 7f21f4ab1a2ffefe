"""Shares of a list, and rows in files."""

import pytest

from diversify.evaluation import Shard
from diversify.evaluation.runs.files import fresh_file, write_atomically
from diversify.evaluation.runs.parts import Lines, part_files, part_line, trim, whole_lines


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("size", [0, 1, 5, 6])
def test_shares_are_everything_once_and_differ_by_one(size, count):
    shares = [Shard(number, count).of(range(size)) for number in range(1, count + 1)]
    assert sorted(at for share in shares for at in share) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_share_of_a_share_is_a_share():
    for number in range(1, 4):
        mine = Shard(number, 3).of(range(40))
        parts = [Shard(number, 3).divided(part, 4) for part in range(1, 5)]
        assert [part.of(range(40)) for part in parts] == [
            Shard(part, 4).of(mine) for part in range(1, 5)
        ]


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "-1/2", "1/2/3", "1/0", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="a shard is"):
        Shard.parse(text)


def test_lines_are_found_whole_and_read_back(tmp_path):
    """Positions and tabs are no part of a row, a tab within it is; what has no end is no row."""
    file = tmp_path / "rows"
    written = ["7\ta\n", "\n", "b\tc\n", "{12\t}\n", "12\td"]
    file.write_text("".join(written))
    found = list(whole_lines(file))
    assert [(line.position, content) for line, content in found] == [
        (7, b"a\n"),
        (None, b"b\tc\n"),
        (None, b"{12\t}\n"),
    ]
    with Lines() as lines:
        assert [lines.read(line) for line, _ in reversed(found)] == [
            content for _, content in reversed(found)
        ]
    assert part_line(7, "a\n") == written[0]


def test_more_files_than_may_be_open(tmp_path):
    for number in range(120):
        (tmp_path / f"{number}").write_text(f"{number}\n")
    places = [line for number in range(120) for line, _ in whole_lines(tmp_path / f"{number}")]
    with Lines() as lines:
        for _ in range(2):
            assert [int(lines.read(place)) for place in places] == list(range(120))
            assert len(lines._open) == 100


@pytest.mark.parametrize("torn", [0, 1, 70_000, 200_000])
def test_a_torn_end_is_cut_off_however_long_it_is(tmp_path, torn):
    file = tmp_path / "rows"
    for whole in (b"", b"a\n", b"a\n" * 40_000):
        file.write_bytes(whole + b"x" * torn)
        trim(file)
        assert file.read_bytes() == whole
    trim(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    file = tmp_path / "generations.jsonl.partial"
    write_atomically(file, "old\n")
    with pytest.raises(KeyError), fresh_file(file) as stream:
        stream.write(b"new")
        assert part_files(tmp_path) == [file]  # the fresh one is not taken for a part
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old\n"]
