"""What the tests of recipes share: import a recipe by its path, run it here, launch it as its command does."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
PROMPTS = ["Name a colour.", "Name a fruit.", "Tell a story.", "Name a city."]


def relative(path):
    return str(path.relative_to(ROOT))


def load_recipe(name):
    """Import a recipe by its path: it is a script and no package."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", ROOT / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the types of its dataclass are looked up
    spec.loader.exec_module(module)
    return module


def recipe_of(config):
    """The recipe that a config's command runs, or None (accelerate's own files)."""
    words = first_line(config)
    return next((Path(w).stem for w in words if w.startswith("recipes/")), None)


def first_line(config):
    return shlex.split(config.read_text("utf-8").splitlines()[0].removeprefix("#"))


def launch(recipe, config, *arguments, accelerate="cpu", cache):
    """Start a recipe as its config's command does; return the record it prints."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [f"configs/accelerate/{accelerate}.yaml", f"recipes/{recipe}.py", "--config", config]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "DIVERSIFY_CACHE": str(cache / "diversify"),
    }
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def run(recipe, monkeypatch, capsys, *arguments):
    """Run a recipe in this process; return the record it prints."""
    monkeypatch.setattr(sys, "argv", [f"recipes/{recipe}.py", *map(str, arguments)])
    load_recipe(recipe).main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])
