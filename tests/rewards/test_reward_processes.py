"""Rewards on several real processes, with batches that cut groups in two."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import launched_reward
import pytest

HERE = Path(__file__).parent


def launch(folder: Path, sizes: list[int]) -> list[dict]:
    """Run the script on one CPU process for each size."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", str(len(sizes)), "--main_process_port", str(port)]
    command += [str(HERE / "launched_reward.py"), str(folder), *map(str, sizes)]
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(len(sizes))]


# Groups of 4 in 12 rows. Two processes, one group cut; then three, one of which ends inside the group where it
# starts; then one without any row.
SIZES = [
    [5, 7],
    pytest.param([2, 1, 9], marks=pytest.mark.slow),
    pytest.param([5, 0, 7], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_process_gets_what_one_process_would_give_its_rows(tmp_path, sizes):
    alone = launched_reward.run(slice(0, 12))
    ranks = launch(tmp_path, sizes)
    for name, expected in alone["answers"].items():
        found = [rank["answers"][name] for rank in ranks]
        assert [len(each["values"]) for each in found] == sizes
        assert [value for each in found for value in each["values"]] == expected["values"]
        for column, values in expected["extras"].items():
            own = [value for each in found for value in each["extras"].get(column, [])]
            assert own == values
        # Each group is logged by exactly one process.
        logged = [tuple(metric) for each in found for metric in each["metrics"]]
        assert sorted(logged) == sorted(expected["metrics"])

    # The last row makes a quality and a kernel fail: where it is, the error itself is raised, and
    # everywhere else an error that says so.
    last = len(sizes) - 1
    for case, error in {"quality": "KeyError: 'no judge'", "kernel": "OSError: no memory"}.items():
        others = {
            rank: f"RuntimeError: process {last} failed while scoring its completions: {error}"
            for rank in range(last)
        }
        errors = {rank: found["errors"][case] for rank, found in enumerate(ranks)}
        assert errors == {**others, last: error}
    for rank in ranks:
        assert rank["errors"]["size"].startswith("ValueError: 12 completions cannot be cut into")
        assert rank["errors"]["prompts"].startswith("ValueError: rows 0 to 5 should be one group")


def test_the_batch_of_the_test_can_tell_cut_groups_from_whole_ones():
    """Scoring the halves alone, as a naive reward does, gives other numbers."""
    reward = launched_reward.rewards()["novelty"]
    reward.group_size = 2
    halves = reward(launched_reward.PROMPTS, launched_reward.TEXTS)
    assert halves != launched_reward.run(slice(0, 12))["answers"]["novelty"]["values"]
