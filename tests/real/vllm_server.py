"""How a small vLLM is started: arguments of the engine, and a server on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

SMALL = {
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_seqs": 128,
    "block_size": 32,  # the smallest on a CPU; only whole blocks of a prompt are shared
}
SERVED = "smol"


@contextlib.contextmanager
def serving(model, *, name, log, patience=150.0):
    """Serve a model on a free port of this machine and yield the base url, `…/v1`.

    Args:
        model: Folder of the model.
        name: As which it is asked for.
        log: File for what the server says.
        patience: Seconds until it must answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # `vllm serve` is the same, but does not start from the wheel for CPUs, which has another name.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", name, "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"]
    command += ["--logits-processors", "diversify.decoding.vllm:ChainProcessor"]
    for option, value in SMALL.items():
        flag = "--" + option.replace("_", "-")
        command += [flag] if value is True else [flag, str(value)]
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | own,
            start_new_session=True,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log, patience)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _end(process)


def _wait(process, url, log, patience):
    until = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    state = "ended" if process.poll() is not None else f"did not answer in {patience} seconds"
    raise RuntimeError(f"vLLM's server {state}; its last words:\n{log.read_text()[-2000:]}")


def _end(process):
    """End the server and the processes that it started: they are a group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
