"""Run by `test_safeguard.py` on two processes: train beside a safeguard, write what each of them saw.

Usage: launched_safeguard.py FOLDER MODEL CASE
"""

import json
import os
import sys
from pathlib import Path

from test_safeguard import SMALL, Planted, Wandering, make_trainer

from diversify.trainers.safeguard import Safeguard


class Failing(Planted):
    def __call__(self, prompts, completions, **columns):
        raise OSError("no memory")


def main() -> None:
    from accelerate import PartialState

    folder, model, case = sys.argv[1:]
    state = PartialState(cpu=True)
    if state.num_processes != 2:
        raise SystemExit(f"{state.num_processes} processes run")
    quality = (Failing if case == "score fails" else Planted)([1.0, 1.0, 0.5])
    safeguard = Safeguard(
        Wandering("seen", [0.5]),
        held_out=Wandering("unseen", [0.5]),
        qualities=[quality],
        every=1,
        **SMALL,
    )
    trainer = make_trainer("grpo", model, Path(folder) / "run")
    safeguard.attach(trainer)
    if case == "answer fails" and state.process_index == 1:

        def fail():
            raise OSError("no memory")

        safeguard._answer = fail
    found = {}
    try:
        trainer.train()
        log = [entry for entry in trainer.state.log_history if "safeguard/alarms" in entry]
        found["log"] = [{k: v for k, v in e.items() if k != "safeguard/seconds"} for e in log]
        found["step"] = trainer.state.global_step
    except (OSError, RuntimeError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    (Path(folder) / f"{state.process_index}.json").write_text(json.dumps(found))
    state.wait_for_everyone()
    os._exit(0)  # after an error in mid-training torch's threads may abort an orderly end


if __name__ == "__main__":
    main()
