"""A server whose answers differ: `serve`."""

from __future__ import annotations

import argparse
from typing import Any

from diversify.cli.engines import add_engine, add_sampling, engine_of, sampling_of
from diversify.cli.parsing import add_command
from diversify.cli.scoring import add_scoring
from diversify.cli.strategies import (
    add_strategy,
    check_strategy,
    gate_of,
    kernel_of,
    strategy_options,
)

__all__ = ["add_serve"]

AT_ONCE = 4
"""Requests that are passed on to a server at the same time; a model in this process takes one."""


def add_serve(commands: Any) -> None:
    """Add the command that serves an engine."""
    text = "serve a model, or stand before its server, with n answers that differ (OpenAI's API)"
    parser = add_command(commands, "serve", _serve, text)
    add_engine(parser)
    add_strategy(parser, "over-generate")
    add_scoring(parser)
    add_sampling(parser)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="another than this machine's own needs --token-env")
    add("--port", type=int, default=8000)
    add("--token-env", help="name of an environment variable with a token that requests must bring")
    parser.set_defaults(quality="auto")


def _serve(options: argparse.Namespace) -> int:
    from diversify.serving import build_app, serve

    sampling = sampling_of(options)
    check_strategy(options)
    model, engine = engine_of(options, sampling, cache=False)
    app = build_app(
        engine,
        default=options.strategy,
        options=strategy_options(options),
        kernel=lambda: kernel_of(options),
        quality=lambda: gate_of(options, model),
        sampling=sampling,
        name=options.model,
        token_env=options.token_env,
        at_once=AT_ONCE if options.engine == "openai" else 1,
    )
    print(f"http://{options.host}:{options.port}/v1 answers for {options.model}; Ctrl-C ends it")
    serve(app, host=options.host, port=options.port)
    return 0
