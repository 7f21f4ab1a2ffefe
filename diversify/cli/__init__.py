"""The `diversify` command: answers, a server, reports, benchmarks, verdicts, thresholds."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from diversify import __version__
from diversify.cli.calibrating import add_calibrate
from diversify.cli.drawing import add_answers, add_generate
from diversify.cli.interpolating import add_interpolate
from diversify.cli.protocols import add_score
from diversify.cli.runs import add_import, add_merge, add_panel
from diversify.cli.scoring import add_compare, add_evaluate, add_prompts, add_report
from diversify.cli.serving import add_serve

__all__ = ["main"]

# Heavy imports live inside the commands: `diversify --help` answers at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print("\nstopped; what was written is kept, the same command continues it", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        # One sentence for the person; the traceback only for those who ask for it.
        if options.traceback:
            raise
        print(f"diversify: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="diversify", description=__doc__)
    parser.add_argument("--version", action="version", version=f"diversify {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="command")
    add_answers(commands)
    add_generate(commands)
    add_serve(commands)
    add_evaluate(commands)
    add_import(commands)
    add_merge(commands)
    add_score(commands)
    add_panel(commands)
    add_compare(commands)
    add_report(commands)
    add_prompts(commands)
    add_calibrate(commands)
    add_interpolate(commands)
    return parser
