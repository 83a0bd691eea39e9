"""A task of small steps under the real sweeper, to be killed: it records itself, and goes on at its own step.

python stepping_task.py -m x=range(8)
"""

import os
import signal
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import facesmith.cli.resolvers  # noqa: F401  # that the sweep settings use
from facesmith.training.run import trial
from facesmith.training.run.record import Monitor, record_run


def main(cfg: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    steps = folder / "steps.txt"
    if cfg.resume is None:
        steps.unlink(missing_ok=True)
    settings = OmegaConf.to_container(cfg)
    objectives = [Monitor(name="val/error", mode="min")]
    with record_run(
        folder,
        experiment="tiny",
        name="tiny",
        settings=settings,
        objectives=objectives,
        swept_values=trial.get_swept_values(),
    ) as recorder:
        done = len(steps.read_text()) if steps.exists() else 0
        for step in range(done, cfg.steps):
            time.sleep(cfg.seconds)
            if cfg.x == cfg.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            with steps.open("a") as file:
                file.write(".")
            recorder.update_metrics(step + 1, step + 1, {"val/error": cfg.x + 1 / (step + 1)}, validated=step)
        value = float(cfg.x) + 1 / cfg.steps
        recorder.set_result(value, None)
    return value


if __name__ == "__main__":
    sys.argv[1:1] = ["--config-path", str(Path.cwd() / "conf")]
    hydra.main(version_base="1.3", config_name="tiny", config_path=None)(main)()
