"""Choose the precision a device is fast at, and say once when a run is slower than it need be."""

import logging

import torch

log = logging.getLogger(__name__)


def choose_precision(precision: str, accelerator: str) -> str:
    """Resolve `auto`: bfloat16 on GPUs that have it, float16 on other CUDA GPUs, float32 elsewhere.

    Autocast on a CPU without bfloat16 units is 20 times slower, so a CPU always computes in float32.
    """
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def notice_device(accelerator: str) -> None:
    """Say once when a GPU is present but unused, or when the run is on a CPU, with the key to change."""
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if accelerator == "cpu" and gpu:
        log.warning("A GPU is present but unused: trainer.accelerator=auto uses it.")
    elif not gpu:
        log.info(
            "Training on %d CPU threads; on a machine with a GPU trainer=gpu_16gb is many times faster.",
            torch.get_num_threads(),
        )
