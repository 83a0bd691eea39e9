"""The OmegaConf resolvers of `conf/`, registered on import."""

import re
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facesmith.training.run.resume import choose_hydra_subdir, choose_run_folder


def _run_folder(_root_: DictConfig) -> str:
    """Return `<experiment>/<name>` as a path that is safe even before either is validated."""

    def safe(key: str) -> str:
        try:
            value = OmegaConf.select(_root_, key)
        except OmegaConfBaseException:
            value = None
        return re.sub(r"[^a-z0-9_-]+", "-", str(value or "unnamed").lower()).strip("-") or "unnamed"

    return f"{safe('experiment_name')}/{safe('name')}"


def _run_dir(base: str, time: str, resume: str | None) -> str:
    """Return a run's folder, see `choose_run_folder`, below the user's home where the base says so."""
    try:
        return choose_run_folder(str(Path(base).expanduser()), time, resume)
    except RuntimeError:  # nobody of that name; the validation says so
        return choose_run_folder(base, time, resume)


def _scene_name(media: object) -> str:
    """Return a name for the first of some media: the file's or the folder's, as a slug."""
    first = media[0] if isinstance(media, ListConfig | list) and len(media) else media
    return re.sub(r"[^a-z0-9_-]+", "-", Path(str(first).rpartition(":")[2]).stem.lower()).strip("-_")[:64] or "scene"


def _directions(_root_: DictConfig) -> ListConfig:
    """Return which way each of a run's objectives is good."""
    objectives = OmegaConf.select(_root_, "objectives") or {"": OmegaConf.select(_root_, "monitor_mode")}
    return OmegaConf.create([objectives[name] for name in objectives])


def _options(group: str) -> str:
    """List the options of a config group, also those of plug-ins, for a command's help."""
    return ", ".join(GlobalHydra.instance().config_loader().get_group_options(group))


OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True, use_cache=True)
OmegaConf.register_new_resolver("record_folder", choose_hydra_subdir, replace=True)
OmegaConf.register_new_resolver("scene_name", _scene_name, replace=True)
OmegaConf.register_new_resolver("options", _options, replace=True)
OmegaConf.register_new_resolver("directions", _directions, replace=True)
OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
OmegaConf.register_new_resolver("upper", lambda text: str(text).upper(), replace=True)
