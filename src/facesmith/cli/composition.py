"""Compose and validate a config in process, as the commands do: for notebooks, tests, benchmarks and other programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from facesmith.cli import resolvers  # noqa: F401  # registers them
from facesmith.config.conf_folder import conf_folder
from facesmith.config.schema import validate
from facesmith.config.settings import Settings

C = TypeVar("C", bound=Settings)


@contextmanager
def open_config(
    name: str, overrides: Sequence[str] = (), *, run: Path | None = None, conf: Path | None = None
) -> Iterator[DictConfig]:
    """Compose a primary config; inside the `with`, config groups can be listed, as `validate` does for its messages.

    Args:
        name: The primary config: `train`, `infer`, `export`, `annotate`, `purge`, or a sweep's name.
        overrides: As on the command line, such as `experiment=identity`.
        run: Folder of the run, what `paths.run` becomes; the working folder where None.
        conf: Folder that holds `<name>.yaml`; found as the commands find it where None.

    Yields:
        The config without Hydra's own keys. `HydraConfig` knows the whole of it.

    Raises:
        HydraException: An override names no key or option.
        UserError: No folder holds the config.
    """
    with initialize_config_dir(str((conf or conf_folder(name)).resolve()), version_base="1.3"):
        cfg = compose(name, list(overrides), return_hydra_config=True)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(run or Path.cwd())
        HydraConfig.instance().set_config(cfg)
        yield OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def compose_config(
    name: str, overrides: Sequence[str] = (), *, run: Path | None = None, conf: Path | None = None
) -> DictConfig:
    """Compose a primary config without Hydra's own keys.

    Args:
        name: The primary config.
        overrides: As on the command line.
        run: Folder of the run.
        conf: Folder that holds `<name>.yaml`.

    Returns:
        The config; Hydra's own keys are in `HydraConfig`.

    Raises:
        HydraException: An override names no key or option.
        UserError: No folder holds the config.
    """
    with open_config(name, overrides, run=run, conf=conf) as cfg:
        return cfg


def load_config(
    name: str, schema: type[C], overrides: Sequence[str] = (), *, run: Path | None = None, conf: Path | None = None
) -> C:
    """Compose a primary config and validate it.

    Args:
        name: The primary config.
        schema: The settings class it is held against, such as `TrainConfig`.
        overrides: As on the command line.
        run: Folder of the run.
        conf: Folder that holds `<name>.yaml`.

    Returns:
        The validated settings.

    Raises:
        HydraException: An override names no key or option.
        UserError: A value is missing, unknown or out of bounds; one line each.
    """
    with open_config(name, overrides, run=run, conf=conf) as cfg:
        return validate(cfg, schema)
