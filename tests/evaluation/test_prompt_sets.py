import collections
import json

import pytest

from diversify.evaluation import load_prompts


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_shipped_sets_have_both_splits_and_answers_where_they_are_known():
    for name in ("open-ended", "enumerable"):
        whole = load_prompts(name)
        train, test = load_prompts(name, split="train"), load_prompts(name, split="test")
        assert len(whole) >= 100 and len(train) + len(test) == len(whole)
        assert whole.version == "1" and whole.licence and whole.name == name
    assert all(row.columns["answers"] for row in load_prompts("enumerable"))


def test_a_limit_spreads_over_the_set():
    whole = load_prompts("open-ended", split="test")
    for limit in (6, 12, 20):
        some = load_prompts("open-ended", split="test", limit=limit)
        counts = collections.Counter(row.category for row in some)
        assert len(some) == limit and len(counts) == 6
        assert max(counts.values()) - min(counts.values()) <= 1
        assert list(some.rows) == [row for row in whole.rows if row in some.rows]


def test_reads_every_kind_of_file(tmp_path):
    (tmp_path / "a.txt").write_text("One?\n\nTwo?\n")
    (tmp_path / "a.csv").write_text("question,level\nOne?,1\nTwo?,2\n")
    write(
        tmp_path / "a.jsonl", {"prompt": "One?"}, {"prompt": [{"role": "user", "content": "Two?"}]}
    )
    assert [row.text for row in load_prompts(tmp_path / "a.txt")] == ["One?", "Two?"]
    table = load_prompts(tmp_path / "a.csv", column="question")
    assert [row.text for row in table] == ["One?", "Two?"] and table.rows[1].columns["level"] == "2"
    assert [row.text for row in load_prompts(tmp_path / "a.jsonl")] == ["One?", "Two?"]
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table({"prompt": ["One?"]}), tmp_path / "a.parquet")
    assert [row.text for row in load_prompts(tmp_path / "a.parquet")] == ["One?"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no prompts"),
        ('{"prompt": "a"}\n{"prompt": \n', "line 2: not valid JSON"),
        ('{"prompt": "a"}\n[1]\n', "line 2: expected a JSON object"),
        ('{"prompt": "a"}\n{"question": "b"}\n', "line 2: no column 'prompt'"),
        ('{"prompt": "a"}\n\n{"prompt": "  "}\n', "line 3: a prompt is text"),
        ('{"prompt": "a", "id": 1}\n{"prompt": "b", "id": 1}\n', "'1' occurs twice"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "bad.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_prompts(tmp_path / "bad.jsonl")


def test_a_line_separator_inside_a_string_is_no_line_end(tmp_path):
    (tmp_path / "u.jsonl").write_text('{"prompt": "a\u2028b"}\n', encoding="utf-8")
    assert load_prompts(tmp_path / "u.jsonl").rows[0].text == "a\u2028b"


def test_unknown_names_and_splits_list_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="open-ended"):
        load_prompts("open-endde")
    with pytest.raises(ValueError, match=r"no split 'dev'; it has \['test', 'train'\]"):
        load_prompts("open-ended", split="dev")
    with pytest.raises(ValueError, match="at least 1"):
        load_prompts("open-ended", limit=0)
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"not \.xlsx"):
        load_prompts(tmp_path / "a.xlsx")
