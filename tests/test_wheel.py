"""The wheel: built, installed in a fresh environment, used from somewhere else."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"diversify", "diversify_llm"}
    for needed in (
        "diversify/evaluation/prompts/open-ended.jsonl",
        "diversify/evaluation/prompts/enumerable.jsonl",
        "diversify/evaluation/report/templates/report.html.j2",
        "diversify/evaluation/tasks/lm_eval/_default_yaml",
        "diversify/evaluation/tasks/lm_eval/diversify_open_ended.yaml",
        "diversify/py.typed",
    ):
        assert needed in names


@pytest.mark.slow
def test_it_works_from_elsewhere(wheel, tmp_path):
    """Installed without dependencies beside this environment's packages: only our files are new."""
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh/bin/python"
    ours = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies come from the environment under test, its editable diversify does not:
    # .pth files are read in site folders only, and PYTHONPATH is not one.
    run = {"cwd": tmp_path, "env": {"PYTHONPATH": str(ours)}, "check": True, "text": True}
    where = "import diversify; print(diversify.__file__)"
    shown = subprocess.run([python, "-c", where], capture_output=True, **run).stdout
    assert shown.startswith(str(tmp_path)), shown
    script = "from diversify.evaluation import load_prompts; print(len(load_prompts('enumerable')))"
    shown = subprocess.run([python, "-c", script], capture_output=True, **run).stdout
    assert int(shown) >= 100
    command = [python, "-m", "diversify.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, **run).stdout
    assert "generate" in shown and "compare" in shown
