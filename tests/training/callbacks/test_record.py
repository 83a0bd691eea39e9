"""What is recorded of a validation before the first step."""

import json
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from facesmith.training.callbacks.record import RecordRun
from facesmith.training.run.csv_log import CsvLog
from facesmith.training.run.record import Monitor, Recorder, record_run

from ...quiet_trainer import quiet_trainer


class Counting(LightningModule):
    """Its metric is how many steps it has taken."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight * batch.mean()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/steps", float(self.global_step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, epochs: int) -> tuple[Trainer, Recorder]:
    monitor = Monitor(name="val/steps", mode="max")
    with record_run(folder, experiment=None, name="ada", settings={}, objectives=[monitor], overrides=[]) as recorder:
        more = {} if epochs else {"limit_train_batches": 0}
        trainer = quiet_trainer(
            max_epochs=epochs,
            num_sanity_val_steps=-1,
            callbacks=[RecordRun(recorder)],
            logger=[CsvLog(folder, flush_seconds=0)],
            log_every_n_steps=1,
            **more,
        )
        data = DataLoader(torch.ones(6, 1), batch_size=2)
        trainer.fit(Counting(), data, data)
    return trainer, recorder


def test_record_run_untrained_has_the_metrics_of_its_validation(tmp_path: Path) -> None:
    trainer, recorder = fit(tmp_path, 0)
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == {"val/steps": 0}
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["trained"], record["epochs"], record["steps"]) == (False, 0, 0)
    assert record["metrics"]["best"] == {"val/steps": {"value": 0, "epoch": -1}}
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,val/steps", "0,0.0"]
    assert RecordRun(recorder).state_dict() == {"untrained": {}}


def test_record_run_trained_remembers_what_it_began_with(tmp_path: Path) -> None:
    trainer, recorder = fit(tmp_path, 2)
    assert float(trainer.callback_metrics["untrained/steps"]) == 0
    assert float(trainer.callback_metrics["val/steps"]) == 6
    assert recorder.record.trained
    assert recorder.record.metrics.best["val/steps"].epoch == 1
    (callback,) = (one for one in trainer.callbacks if isinstance(one, RecordRun))
    resumed = RecordRun(recorder)
    resumed.load_state_dict(callback.state_dict())
    assert resumed.state_dict() == {"untrained": {"val/steps": 0}}
