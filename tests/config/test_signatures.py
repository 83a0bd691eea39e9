"""Signatures read from source agree with those of the imported classes."""

import inspect

import pytest

from facesmith.config.signatures import signature
from facesmith.config.targets import TargetError, locate


@pytest.mark.parametrize(
    "target",
    [
        "lightning.Trainer",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.loggers.CSVLogger",
        "torch.optim.AdamW",
        "torch.optim.SGD",
        "torch.nn.Identity",
        "torch.nn.Sequential",
        "torchmetrics.MeanMetric",
        "torchmetrics.classification.BinaryJaccardIndex",
        "lightning.pytorch.callbacks.EarlyStopping",
    ],
)
def test_names_and_defaults_agree_with_the_imported_class(target: str) -> None:
    read = signature(target).parameters
    real = inspect.signature(locate(target)).parameters
    assert list(read) == list(real)
    assert [p.default is p.empty for p in read.values()] == [p.default is p.empty for p in real.values()]


def test_a_class_that_does_not_exist_is_unknown() -> None:
    with pytest.raises(TargetError):
        signature("lightning.pytorch.callbacks.ModelCheckpointt")
