"""The engine for OpenAI-compatible servers against `transformers serve` in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from diversify.engines import Sampling
from diversify.engines.openai import OpenAIEngine
from diversify.engines.transformers import TransformersEngine
from diversify.models import load_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("no_proxy")]

PROMPTS = ["Name a colour.", "Tell a long story of the people who look for water in Paris."]
WARM = Sampling(temperature=0.9, max_tokens=12, seed=3)


@contextlib.contextmanager
def serving(command: Sequence[Any], log: Path) -> Iterator[str]:
    """Start a server on a free port of loopback, wait until it is well, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    line = [str(part) for part in (*command, "--host", "127.0.0.1", "--port", port)]
    with log.open("w") as output:
        process = subprocess.Popen(line, env=settings, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 400
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def transformers_server(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    command = [Path(sys.executable).with_name("transformers"), "serve", tiny_model_path]
    command += ["--device", "cpu", "--dtype", "float32"]
    with serving(command, tmp_path_factory.mktemp("logs") / "transformers.txt") as url:
        yield url


def test_transformers_serve_draws_what_sampling_says(
    transformers_server: str, tiny_model_path: Path
) -> None:
    """The greedy text is that of the engine on this machine; samples differ, and can be repeated."""
    engine = OpenAIEngine(
        str(tiny_model_path),
        base_url=transformers_server,
        api_key_env="NO_KEY",
        flavour="transformers",
        concurrency=1,
        cache=False,
    )
    here = TransformersEngine(load_model(tiny_model_path, dtype="float32", device="cpu"))
    greedy = WARM.at(temperature=0)
    assert engine.generate(PROMPTS, 1, greedy).texts == here.generate(PROMPTS, 1, greedy).texts
    drawn = engine.generate(PROMPTS, 4, WARM)
    assert all(len(set(row)) == 4 for row in drawn)
    assert engine.generate(PROMPTS, 4, WARM) == drawn, "the seeds reach the model"
    tokens = [row["tokens"]["read"] for row in drawn.details]
    assert tokens == [len(here.token_ids(prompt)) for prompt in PROMPTS]
    pieces = list(engine.stream(PROMPTS[0], WARM))
    assert "".join(pieces).strip() == drawn[0][0]


def test_transformers_serve_says_what_it_does_not_know(
    transformers_server: str, tiny_model_path: Path
) -> None:
    engine = OpenAIEngine(
        str(tiny_model_path),
        base_url=transformers_server,
        flavour="extended",
        retries=0,
        cache=False,
    )
    with pytest.raises(ValueError, match=r"takes no such request .*top_k"):
        engine.generate(PROMPTS, 1, WARM)
