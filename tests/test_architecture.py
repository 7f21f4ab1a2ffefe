"""The layers hold: an import may only point down, and the light package stays light."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "diversify"

LAYERS = {
    0: {"counts", "kernels", "measures", "credit"},
    1: {"cache", "embedders", "lexical", "models", "reading", "server", "sources"},
    2: {"engines", "equivalence", "quality", "advantages", "losses", "gates", "pools"},
    3: {"rewards", "pairs", "demonstrations", "decoding"},
    4: {"cli", "evaluation", "serving", "trainers"},
}
RANK = {name: rank for rank, names in LAYERS.items() for name in names}
# One room may not look into another on its own floor, except where the design says so.
NEIGHBOURS = {("lexical", "kernels"), ("models", "sources"), ("embedders", "sources")}
NEIGHBOURS |= {("cli", "evaluation"), ("cli", "trainers"), ("trainers", "evaluation")}
NEIGHBOURS |= {("cli", "serving")}
NEIGHBOURS |= {("gates", "engines"), ("equivalence", "quality"), ("embedders", "cache")}
NEIGHBOURS |= {("cache", "sources"), ("server", "cache"), ("pools", "engines")}
NEIGHBOURS |= {("quality", "engines"), ("measures", "kernels"), ("credit", "measures")}
NEIGHBOURS |= {("kernels", "counts")}
NEIGHBOURS |= {("credit", "kernels"), ("embedders", "models"), ("engines", "quality")}
CORE_MAY_IMPORT = {"numpy", "scipy", "diversify"}
# Plug-ins of other programs, which import them: module -> what must be installed for that.
PLUGINS = {"diversify.evaluation.tasks.inspect": "inspect_ai"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room not in ("__init__", "__main__"):  # the doors of the package
            yield room, path, list(imports(path))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "diversify":
                yield from (f"diversify.{alias.name}" for alias in node.names)


def test_every_module_has_a_layer():
    assert {room for room, _, _ in modules()} <= set(RANK)


def test_arrows_point_down():
    wrong = []
    for room, path, names in modules():
        for name in names:
            parts = name.split(".")
            if parts[0] != "diversify" or len(parts) < 2 or parts[1] not in RANK:
                continue
            other = parts[1]
            if other != room and RANK[other] >= RANK[room] and (room, other) not in NEIGHBOURS:
                wrong.append(f"{path.relative_to(PACKAGE)} -> {other}")
    assert wrong == []


def test_the_core_knows_only_numpy_and_scipy():
    for room, path, names in modules():
        if room in LAYERS[0]:
            foreign = {name.split(".")[0] for name in names} - CORE_MAY_IMPORT
            assert foreign <= set(sys.stdlib_module_names), f"{path.name}: {foreign}"


def test_the_statistics_know_no_files_models_or_reports():
    statistics = PACKAGE / "evaluation" / "statistics"
    paths = sorted(statistics.glob("*.py"))
    assert len(paths) > 2
    for path in paths:
        ours = {name for name in imports(path) if name.split(".")[0] == "diversify"}
        assert {name for name in ours if ".evaluation.statistics" not in name} == set(), path.name
        foreign = {name.split(".")[0] for name in imports(path)} - CORE_MAY_IMPORT
        assert foreign <= set(sys.stdlib_module_names), f"{path.name}: {foreign}"


def test_trl_is_imported_by_trainers_alone():
    assert [
        str(path.relative_to(PACKAGE))
        for room, path, names in modules()
        if room != "trainers" and any(name.split(".")[0] == "trl" for name in names)
    ] == []


def test_nothing_in_the_package_imports_the_workshop():
    for _, path, names in modules():
        assert not {"recipes", "configs", "eval", "tests"} & {n.split(".")[0] for n in names}, path


def test_git_ignores_no_file_of_the_project():
    """A wheel leaves out what git ignores: a pattern for run folders once hid a package's folder."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    rooms = ("diversify", "recipes", "configs", "eval", "benchmarks", "tests", "docs")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", *rooms]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    hidden = [name for name in done.stdout.splitlines() if not name.endswith((".pyc", ".pyo"))]
    assert hidden == []


def test_importing_the_package_is_light_and_quick():
    """Under half a second and without torch or transformers, in a fresh interpreter."""
    script = (
        "import sys, time; start = time.perf_counter(); import diversify; "
        "took = time.perf_counter() - start; "
        "print(took, *({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    best = []
    for _ in range(3):  # the best of three: another process may have had the cores
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        seconds, *heavy = done.stdout.split()
        assert heavy == []
        best.append(float(seconds))
    assert min(best) < 0.5


def test_every_module_imports():
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for _, path, _ in modules()
    ]
    missing = {name for name, host in PLUGINS.items() if find_spec(host) is None}
    names = [name for name in names if name not in missing]
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", script, *names], check=True)


def test_no_two_conftests_share_a_module_name():
    """Of two files that are both module `conftest`, the later one hides the former's classes."""
    tests = Path(__file__).parent
    shared = [path.parent for path in tests.rglob("conftest.py") if path.parent != tests]
    assert shared
    assert [folder.name for folder in shared if not (folder / "__init__.py").is_file()] == []
