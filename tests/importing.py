"""Scripts of the repository as modules: they are in no package, so a test imports them by their path."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def imported(script: str) -> Iterator[ModuleType]:
    """Give the module of a script such as `eval/methods.py`, and forget it at the end."""
    path = ROOT / script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            sys.modules, path.stem, module
        )  # where the types of dataclasses are looked up
        spec.loader.exec_module(module)
        yield module
