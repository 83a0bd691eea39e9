"""Names of earlier versions in files on users' disks: checkpoints, run records, adapters."""

import re
from collections.abc import Mapping
from typing import Any, Final

# `_target_` of an earlier version -> of this one
TARGETS: Final[Mapping[str, str]] = {
    "facesmith.callbacks.adapter.SaveAdapter": "facesmith.training.callbacks.export.SaveAdapter",
    "facesmith.callbacks.advise.Advise": "facesmith.training.callbacks.suggest_fixes.SuggestFixes",
    "facesmith.callbacks.artifacts.LogArtifacts": "facesmith.training.callbacks.wandb.LogArtifacts",
    "facesmith.callbacks.average.AverageWeights": "facesmith.training.callbacks.average.AverageWeights",
    "facesmith.callbacks.export.ExportOnnx": "facesmith.training.callbacks.export.ExportOnnx",
    "facesmith.callbacks.film.FilmRenders": "facesmith.training.callbacks.render.RenderTimelapse",
    "facesmith.callbacks.freeze.FreezeMapper": "facesmith.training.callbacks.freeze.FreezeMapper",
    "facesmith.callbacks.gate_table.LogGateTable": "facesmith.training.callbacks.wandb.LogGateTable",
    "facesmith.callbacks.guard.GuardTraining": "facesmith.training.callbacks.detect_nonfinite.DetectNonFinite",
    "facesmith.callbacks.last.ValidateLastEpoch": "facesmith.training.callbacks.checkpoints.ValidateLastEpoch",
    "facesmith.callbacks.last_checkpoint.SaveLast": "facesmith.training.callbacks.checkpoints.SaveLast",
    "facesmith.callbacks.overfit.RepeatBatches": "facesmith.training.callbacks.overfit.RepeatBatches",
    "facesmith.callbacks.preview.PreviewData": "facesmith.training.callbacks.render.PreviewData",
    "facesmith.callbacks.profile.SaveProfile": "facesmith.training.callbacks.export.SaveProfile",
    "facesmith.callbacks.progress.TrainingProgress": "facesmith.training.callbacks.progress.TrainingProgress",
    "facesmith.callbacks.prune.PruneTrial": "facesmith.training.callbacks.prune.PruneTrial",
    "facesmith.callbacks.render.RenderValidation": "facesmith.training.callbacks.render.RenderValidation",
    "facesmith.callbacks.step_profile.ProfileSteps": "facesmith.training.callbacks.step_profile.ProfileSteps",
    "facesmith.callbacks.summary.PrintSummary": "facesmith.training.callbacks.summary.PrintSummary",
    "facesmith.callbacks.videos.SaveVideos": "facesmith.training.callbacks.render.SaveVideos",
    "facesmith.encoders.vision.ClipEncoder": "facesmith.models.encoders.vision.ClipEncoder",
    "facesmith.encoders.vision.DinoEncoder": "facesmith.models.encoders.vision.DinoEncoder",
    "facesmith.faces.insightface.InsightFaceAnalyzer": "facesmith.faces.analyzers.insightface.InsightFaceAnalyzer",
    "facesmith.faces.mediapipe.MediaPipeAnalyzer": "facesmith.faces.analyzers.mediapipe.MediaPipeAnalyzer",
    "facesmith.generators.aad.Aad": "facesmith.models.swapper.aad.Aad",
    "facesmith.occluder.augment.AugmentMasks": "facesmith.methods.occluder.augment.AugmentMasks",
    "facesmith.occluder.data.OccluderDataModule": "facesmith.methods.occluder.data.OccluderDataModule",
    "facesmith.occluder.loss.MaskLoss": "facesmith.methods.occluder.losses.MaskLoss",
    "facesmith.occluder.module.OccluderModule": "facesmith.methods.occluder.module.OccluderModule",
    "facesmith.runs.csv_log.CsvLog": "facesmith.training.run.csv_log.CsvLog",
    "facesmith.runs.loggers.WandbRunLogger": "facesmith.training.run.wandb_logger.WandbRunLogger",
    "facesmith.swapper.aad_loss.AadLoss": "facesmith.methods.swapper.losses.AadLoss",
    "facesmith.swapper.augment.Augment": "facesmith.training.swapping.augment.Augment",
    "facesmith.swapper.data.SwapperDataModule": "facesmith.methods.swapper.data.SwapperDataModule",
    "facesmith.swapper.lora.data.SwapLoraDataModule": "facesmith.methods.swap_lora.data.SwapLoraDataModule",
    "facesmith.swapper.lora.module.SwapLoraModule": "facesmith.methods.swap_lora.module.SwapLoraModule",
    "facesmith.swapper.module.SwapperModule": "facesmith.methods.swapper.module.SwapperModule",
    "facesmith.swapper.pretrain.PretrainDataModule": "facesmith.methods.swapper.data.PretrainDataModule",
    "facesmith.tasks.blend.BlendTask": "facesmith.tasks.profiles.combine.BlendTask",
    "facesmith.tasks.compare.CompareTask": "facesmith.tasks.compare.task.CompareTask",
    "facesmith.tasks.embed.EmbedTask": "facesmith.tasks.profiles.embed.EmbedTask",
    "facesmith.tasks.enrich.EnrichTask": "facesmith.tasks.profiles.combine.EnrichTask",
    "facesmith.tasks.generate.GenerateTask": "facesmith.tasks.generate.task.GenerateTask",
    "facesmith.tasks.interpolate.InterpolateTask": "facesmith.tasks.profiles.combine.InterpolateTask",
    "facesmith.tasks.mask.MaskTask": "facesmith.tasks.mask.task.MaskTask",
    "facesmith.tasks.swap.SwapTask": "facesmith.tasks.swap.task.SwapTask",
    "facesmith.tasks.validate.ValidateTask": "facesmith.tasks.validate.task.ValidateTask",
    "facesmith.video_lora.data.VideoLoraDataModule": "facesmith.methods.video_lora.data.VideoLoraDataModule",
    "facesmith.video_lora.judging.FaceJudge": "facesmith.methods.video_lora.evaluation.FaceEvaluator",
    "facesmith.video_lora.module.VideoLoraModule": "facesmith.methods.video_lora.module.VideoLoraModule",
    "facesmith.video_lora.references.DetectedFaces": "facesmith.methods.video_lora.face_embeddings.AlignedFaceEncoder",
    "facesmith.video_lora.tiny.demo.DancersDataModule": "facesmith.methods.video_lora.toy_wan.data.ToyWanDataModule",
    "facesmith.video_lora.tiny.faces.DancerJudge": "facesmith.methods.video_lora.toy_wan.faces.ToyEvaluator",
    "facesmith.video_lora.tiny.faces.PortraitReader": "facesmith.methods.video_lora.toy_wan.faces.ToyFaceEncoder",
}

# a network of an earlier version, as settings and overrides name it -> why it cannot be read, and what to do
REMOVED: Final[Mapping[str, str]] = dict.fromkeys(
    ("TextureWarp", "texture_warp"),
    "is of the generator texture_warp, which this version of facesmith does not have; train again with facesmith train "
    "experiment=identity (its .onnx files still run)",
)

_SHARES: Final = {
    "shares.P": "shares.target",
    "shares.V": "shares.reposed",
    "shares.R": "shares.reversed",
    "shares.I": "shares.self",
}
_VIDEO_LORA_DATA: Final = {"reader": "face_encoder", "judge": "evaluator"}

_OCCLUDER_DATA: Final = {
    "occlusions.clear": "occlusions.unoccluded",
    "occlusions.several": "occlusions.second_occluder",
    "occlusions.motion": "occlusions.motion_blur",
    "occlusions.soft": "occlusions.defocus",
    "validation_each": "validation_faces",
}
_OCCLUDER_MODULE: Final = {"detail": "detail_channels", "optimizer.encoder": "optimizer.encoder_lr_factor"}

# `_target_` of this version -> dotted key of an earlier version below it -> dotted key of this one
KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "facesmith.methods.occluder.augment.AugmentMasks": {"sharp": "sharpen"},
    "facesmith.methods.occluder.data.OccluderDataModule": _OCCLUDER_DATA,
    "facesmith.methods.occluder.module.OccluderModule": _OCCLUDER_MODULE,
    "facesmith.methods.swapper.data.SwapperDataModule": _SHARES,
    "facesmith.methods.swapper.data.PretrainDataModule": _SHARES,
    "facesmith.methods.swap_lora.data.SwapLoraDataModule": {**_SHARES, "elsewhere": "shares.prior"},
    "facesmith.methods.swap_lora.module.SwapLoraModule": {"loss.elsewhere": "loss.prior"},
    "facesmith.methods.video_lora.data.VideoLoraDataModule": _VIDEO_LORA_DATA,
    "facesmith.methods.video_lora.face_embeddings.AlignedFaceEncoder": {"encoder": "backbone"},
    "facesmith.methods.video_lora.toy_wan.data.ToyWanDataModule": _VIDEO_LORA_DATA,
    "facesmith.training.callbacks.detect_nonfinite.DetectNonFinite": {"limit": "max_skipped"},
    "facesmith.training.callbacks.overfit.RepeatBatches": {"memorised": "max_loss_ratio"},
    "facesmith.training.callbacks.suggest_fixes.SuggestFixes": {"waiting": "max_wait_share", "hours": "max_cpu_hours"},
}

# `_target_` of this version -> dotted keys of an earlier version below it that nothing reads any more
DROPPED_KEYS: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
    (
        "facesmith.methods.swapper.data.SwapperDataModule",
        "facesmith.methods.swapper.data.PretrainDataModule",
        "facesmith.methods.swap_lora.data.SwapLoraDataModule",
    ),
    ("pseudo_truth.textures",),
)

# dotted key or config group of an override of an earlier version -> of this one; keys below it follow
OVERRIDES: Final[Mapping[str, str]] = {
    "callbacks.advise.hours": "callbacks.advise.max_cpu_hours",
    "callbacks.advise.waiting": "callbacks.advise.max_wait_share",
    "callbacks.guard.limit": "callbacks.guard.max_skipped",
    "callbacks.overfit.memorised": "callbacks.overfit.max_loss_ratio",
    "data.judge": "data.evaluator",
    "data.reader.encoder": "data.face_encoder.backbone",
    "data.reader": "data.face_encoder",
    "data/judge": "data/evaluator",
    "data/reader": "data/face_encoder",
    "data.augment.sharp": "data.augment.sharpen",
    **{f"data.{old}": f"data.{new}" for old, new in _OCCLUDER_DATA.items()},
    **{f"model.{old}": f"model.{new}" for old, new in _OCCLUDER_MODULE.items()},
    **{f"data.{old}": f"data.{new}" for old, new in _SHARES.items()},
    "data.elsewhere": "data.shares.prior",
    "model.loss.elsewhere": "model.loss.prior",
}

# choice of a config group, by today's name of the group, of an earlier version -> of this one
OPTIONS: Final[Mapping[str, str]] = {
    "data/evaluator=dancers": "data/evaluator=toy",
    "data/face_encoder=portrait": "data/face_encoder=toy",
}

# asset of an earlier version -> of this one
ASSETS: Final[Mapping[str, str]] = {"tiny_wan": "toy_wan"}
_ABSENT: Final = object()
_ASSET: Final = re.compile(r"(?<=\basset:)\w+")


def upgrade(settings: Any) -> Any:
    """Return saved settings under the names of this version.

    Args:
        settings: Plain values as a file holds them: mappings, lists, numbers, text. They are not changed.

    Returns:
        The same values; targets, keys and assets of an earlier version have today's names, at every depth.
    """
    if isinstance(settings, str):
        return _ASSET.sub(_todays_asset, settings)
    if isinstance(settings, list):
        return [upgrade(one) for one in settings]
    if not isinstance(settings, Mapping):
        return settings
    found = {key: upgrade(value) for key, value in settings.items()}
    target = found.get("_target_")
    if isinstance(target, str):
        found["_target_"] = target = TARGETS.get(target, target)
        for old, new in KEYS.get(target, {}).items():
            _rename(found, old, new)
        for key in DROPPED_KEYS.get(target, ()):
            _pop(found, key)
    return found


def find_removed(settings: Any) -> str | None:
    """Return why saved settings, or an override, cannot be read: they name a network that this version does not have.

    Args:
        settings: Plain values as a file holds them, or one override.

    Returns:
        What is said of the file: "is of the generator ..."; None where all that is named exists.
    """
    if isinstance(settings, Mapping):
        return next((why for value in settings.values() if (why := find_removed(value))), None)
    if isinstance(settings, list):
        return next((why for value in settings if (why := find_removed(value))), None)
    if not isinstance(settings, str):
        return None
    names = re.split(r"[.=]", settings)
    return next((why for name, why in REMOVED.items() if name == names[-1] and len(names) > 1), None)


def upgrade_override(override: str) -> str:
    """Return a saved override under the names of this version.

    Args:
        override: In Hydra's grammar, as a run's record holds it: `+callbacks.early={_target_: ..., patience: 5}`.
    """
    found = re.sub(r"facesmith(?:\.\w+)+", lambda name: TARGETS.get(name[0], name[0]), override)
    found = _ASSET.sub(_todays_asset, found)
    marks, key, rest = re.fullmatch(r"([+~]*)([^=]*)(.*)", found, re.DOTALL).groups()  # type: ignore[union-attr]  # all
    for old, new in OVERRIDES.items():
        if key == old or key.startswith((f"{old}.", f"{old}@")):
            renamed = f"{new}{key.removeprefix(old)}{rest}"
            return f"{marks}{OPTIONS.get(renamed, renamed)}"
    return found


def _todays_asset(name: re.Match[str]) -> str:
    return ASSETS.get(name[0], name[0])


def _rename(settings: dict[str, Any], old: str, new: str) -> None:
    """Move the value at one dotted key to another, where there is one."""
    value = _pop(settings, old)
    if value is _ABSENT:
        return
    *path, last = new.split(".")
    for key in path:
        settings = settings.setdefault(key, {})
    settings[last] = value


def _pop(settings: dict[str, Any], key: str) -> Any:
    """Remove the value at a dotted key and return it; _ABSENT where there is none."""
    *path, last = key.split(".")
    inner: Any = settings
    for part in path:
        inner = inner.get(part)
        if not isinstance(inner, dict):
            return _ABSENT
    return inner.pop(last, _ABSENT)
