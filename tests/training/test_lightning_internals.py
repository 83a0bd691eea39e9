"""Lightning's private names are there, during a fit: a failure names what is gone and what it breaks."""

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from facesmith.training import lightning_internals as internals

from ..quiet_trainer import quiet_trainer

# path from the trainer within a step, and what facesmith needs it for
NEEDED = {
    "fit_loop._data_fetcher": "SaveLast and GracefulShutdown: where a training can resume; resume between epochs",
    "fit_loop._should_accumulate": "SaveLast and GracefulShutdown: no gradients may be pending",
    "fit_loop._combined_loader": "ExactState: the position in the data",
    "fit_loop._combined_loader._load_state_dicts": "ExactState: the position in the data, between epochs",
    "fit_loop._combined_loader_states_to_load": "ExactState: the position in the data, between epochs",
    "fit_loop.epoch_loop._is_training_done": "SaveLast and GracefulShutdown: an epoch's last step",
    "fit_loop.epoch_loop._should_check_val_fx": "SaveLast and GracefulShutdown: a step before validation",
    "fit_loop.epoch_loop._results": "ExactState: means of the epoch under way",
    "fit_loop.epoch_loop._batches_that_stepped": "ExactState: the step that is logged next",
    "_logger_connector._first_loop_iter": "ExactState: means of the epoch under way",
    "_logger_connector.should_update_logs": "ExactState: whether this step is logged",
    "_logger_connector.metrics": "ExactState: what is logged next",
}


class Net(lightning.LightningModule):
    def __init__(self, look: Callable[[lightning.Trainer], None]) -> None:
        super().__init__()
        self.line, self.look = torch.nn.Linear(2, 1), look

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.line(batch[0]).square().mean()
        self.log("train/mean", loss.detach(), on_step=False, on_epoch=True)
        self.log("train/loss", loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.look(self.trainer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(look: Callable[[lightning.Trainer], None], **arguments: Any) -> None:
    trainer = quiet_trainer(
        max_epochs=1,
        log_every_n_steps=1,
        **arguments,
    )
    trainer.fit(Net(look), DataLoader(TensorDataset(torch.randn(4, 2))))


def test_trainer_within_a_step_has_the_private_names() -> None:
    gone: list[str] = []

    def look(trainer: lightning.Trainer) -> None:
        for path, use in NEEDED.items():
            found: Any = trainer
            for name in path.split("."):
                if not hasattr(found, name):
                    gone.append(f"Trainer.{path}: {name} is gone; {use}")
                    break
                found = getattr(found, name)

    fit(look)
    assert not gone, "\n".join(gone)


def test_running_metrics_restored_equal_the_saved_ones() -> None:
    saved: list[list[dict[str, Any]]] = []

    def look(trainer: lightning.Trainer) -> None:
        saved.append(internals.save_running_metrics(trainer))
        trainer.fit_loop.epoch_loop._results.clear()
        internals.restore_running_metrics(trainer, saved[0])
        saved.append(internals.save_running_metrics(trainer))

    fit(look)
    before, after = saved
    assert {one["told"]["name"] for one in before} == {"train/mean", "train/loss"}
    mean = next(one for one in before if one["told"]["name"] == "train/mean")
    assert int(mean["size"]) == 2
    assert repr(after) == repr(before)


def test_pending_log_within_a_step_is_what_lightning_logs_next() -> None:
    found: list[Any] = []
    fit(lambda trainer: found.append(internals.get_pending_log(trainer)))
    ((metrics, step),) = found
    assert step == 1
    assert metrics.keys() == {"epoch", "train/loss"}


@pytest.mark.parametrize(("batches", "resumable"), [(4, True), (2, False)])
def test_resumable_point_is_within_an_epoch_not_at_its_end(batches: int, resumable: bool) -> None:
    found: list[bool] = []
    fit(lambda trainer: found.append(internals.is_resumable_point(trainer)), limit_train_batches=batches)
    assert found == [resumable]


def test_weight_averaging_has_model_and_step() -> None:
    callback = WeightAveraging()
    assert hasattr(callback, "_average_model"), "AverageWeights: the averaged copy"
    assert internals.get_latest_update_step(callback) == 0
    fit(lambda _: internals.get_average_model(callback), callbacks=[callback])
    assert internals.get_latest_update_step(callback) == 4


def test_csv_writer_of_lightning_has_the_hook_that_deletes() -> None:
    assert hasattr(ExperimentWriter, "_check_log_dir_exists"), "CsvLog: keeps the file of an earlier part of the run"
