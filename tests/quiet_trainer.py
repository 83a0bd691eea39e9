"""A trainer for tests of what happens in it."""

from typing import Any

from lightning import Trainer


def quiet_trainer(**arguments: Any) -> Trainer:
    """Make a trainer on the CPU that logs, saves and shows nothing. arguments: its own, and what is to differ."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(**{"accelerator": "cpu", "enable_model_summary": False, **quiet, **arguments})
