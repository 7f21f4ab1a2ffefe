"""What the documents say runs: Python blocks are executed, links and commands point at something."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "eval/*.md") for path in ROOT.glob(pattern)
)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_exist(document):
    text = document.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readmes_python_blocks_run(tmp_path):
    """In one interpreter, one after the other, in an empty folder: as a reader would."""
    found = blocks(ROOT / "README.md", "python")
    assert found
    script = "\n".join(found)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_make_targets_named_in_commands_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for block in blocks(document, "bash"):
        for path in re.findall(r"\b((?:recipes|configs|eval|requirements)/[\w./-]+)", block):
            assert (ROOT / path).exists(), f"{document.name} names {path}"
        for target in re.findall(r"^make ([a-z-]+)", block, re.M):
            assert target in targets, f"{document.name} names make {target}"


def test_the_readmes_diversify_commands_are_understood():
    """Every `diversify …` line of the README parses with the real parser."""
    from diversify.cli import _parser

    lines = [
        line.strip()
        for block in blocks(ROOT / "README.md", "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("diversify ")
    ]
    assert lines
    for line in lines:
        _parser().parse_args(shlex.split(line, comments=True)[1:])
