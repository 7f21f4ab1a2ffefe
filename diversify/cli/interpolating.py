"""Between a base and its tuned model: `interpolate`."""

from __future__ import annotations

import argparse
from typing import Any

from diversify.cli.parsing import add_command

__all__ = ["add_interpolate"]


def add_interpolate(commands: Any) -> None:
    """Add the command that writes interpolated weights."""
    text = "write the model that lies part of the way from a base to its tuned model (WiSE-FT)"
    add = add_command(commands, "interpolate", _interpolate, text).add_argument
    add("tuned", help="folder of a LoRA adapter or of a whole model")
    add("--alpha", type=float, required=True, help="0 is the base, 1 the tuned model")
    add("--base", help="folder of the base, where the tuned one is a whole model")
    add("--output", required=True, help="folder to write")


def _interpolate(options: argparse.Namespace) -> int:
    from diversify.trainers.interpolate import interpolate

    print(interpolate(options.tuned, options.output, alpha=options.alpha, base=options.base))
    return 0
