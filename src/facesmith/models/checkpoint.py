"""Checkpoints that rebuild their module by themselves: plain dicts and tensors, no pickled code."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule

import facesmith
from facesmith.config.consent import require_current
from facesmith.config.saved import read_settings
from facesmith.config.settings import Component, ModuleConfig
from facesmith.errors import UserError, is_out_of_memory

RECORD = "facesmith"


def checkpoint_record(settings: Component, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint stores so that its module can be rebuilt, in plain values.

    Args:
        settings: Of the module.
        provenance: Whose face it learnt: face-set key, consent and the like.
    """
    plain = settings.model_dump(mode="json", by_alias=True, serialize_as_any=True)
    return {"settings": plain, "provenance": dict(provenance), "version": facesmith.__version__}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of facesmith onto the CPU.

    Raises:
        UserError: It is missing, damaged, or not facesmith's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols of pickle; errors are reported below
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a checkpoint") from None
    except Exception as error:  # the unpickler lets pass whatever a strange file makes it run into
        if is_out_of_memory(error):
            raise UserError(f"{path}: asks for more memory than there is; free some, or give another file") from None
        raise UserError(f"{path}: is no checkpoint, or a damaged one; give a file of a run's checkpoints/") from None
    record = checkpoint.get(RECORD) if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict) or not all(
        isinstance(part, dict)
        for part in (checkpoint.get("state_dict"), record.get("settings"), record.get("provenance"))
    ):
        raise UserError(f"{path}: is not a checkpoint of facesmith; give a file of a run's checkpoints/")
    return checkpoint


def load_module(path: Path) -> LightningModule:
    """Rebuild the module a checkpoint was saved from, in eval mode, with its averaged weights where it has them.

    Its settings may name only classes of facesmith and of installed plug-ins; nothing else in the file is executed.

    Raises:
        UserError: As `read_checkpoint`, or the checkpoint's settings or weights do not fit this facesmith.
    """
    checkpoint = read_checkpoint(path)
    record = checkpoint[RECORD]
    provenance = record.get("provenance") or {}
    require_current(provenance.get("expires"), path, provenance.get("identity"))
    settings = read_settings(record["settings"], ModuleConfig, str(path), version=record.get("version"))
    try:
        module: LightningModule = settings.without_pretrained_weights().build()
        module.load_state_dict(checkpoint["state_dict"])
        module.on_load_checkpoint(checkpoint)
    except UserError:
        raise
    except Exception as error:  # a strange file holds no tensors where tensors belong, or whatever it likes
        if is_out_of_memory(error):
            raise UserError(f"{path}: asks for more memory than there is; free some, or give another file") from None
        why = " ".join(str(error).split())
        by = " ".join(str(record.get("version")).split())[:20]
        raise UserError(
            f"{path}: was saved by facesmith {by} and does not fit {facesmith.__version__} ({why[:200]}); train it "
            "again"
        ) from None
    return module.eval()


def check_face_set(known: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a resumed training has the faces it began with.

    Args:
        known: Provenance of the data at hand; empty where it is not known.
        checkpoint: As it was saved.

    Returns:
        The provenance that the checkpoint was saved with.

    Raises:
        UserError: The faces are others.
    """
    saved: dict[str, Any] = checkpoint[RECORD]["provenance"]
    if known and known["face_set"] != saved["face_set"]:
        raise UserError(
            f"data.source: its faces are not those this run was trained on (face set {saved['face_set']} -> "
            f"{known['face_set']}); use the same photos and videos again, or start a new run without resume="
        )
    return saved
