"""`facesmith faces ada extract`: find a person's faces as a training does, without training."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from facesmith import assets
from facesmith.cli.composition import open_config
from facesmith.cli.mistakes import override_mistakes
from facesmith.cli.preflight import check_training
from facesmith.cli.typed_values import as_typed
from facesmith.config.conf_folder import conf_folder
from facesmith.config.schema import TrainConfig, validate
from facesmith.config.settings import Chosen, EngineConfig
from facesmith.errors import UserError, explain_errors
from facesmith.faces.face_set.config import ExtractionConfig
from facesmith.files import short_path
from facesmith.terminal import make_console, print_line

_CONFIG: Final = "extract"


class ExtractConfig(TrainConfig):
    """A training, of which only the faces are extracted."""

    engine: Chosen[EngineConfig]
    """Where the pictures are analysed, this machine or a cluster; an option of the config group."""


def extract_person(name: str, given: Sequence[str]) -> Path:
    """Find a person's faces with the settings of `experiment=identity`, so that its training finds the same set.

    Args:
        name: Of the person.
        given: Keys of the training, such as `data.source=photos/` and `data.consent=self`, and of the engine.

    Returns:
        The folder of the face set.

    Raises:
        UserError: A key is wrong, or the media hold no usable face.
    """
    config = _compose(["experiment=identity", *as_typed(given), f"data.name={name}"])
    data = config.data
    if not isinstance(data, ExtractionConfig):
        raise UserError("facesmith faces extract: data= is set; omit it")
    from facesmith.cli.infer import build_engine
    from facesmith.faces.face_set.coverage import advise_pictures, describe_flaws
    from facesmith.faces.face_set.extraction import ExtractionSettings, extract
    from facesmith.tasks.engine.extraction import analyse_on

    set_up = partial(_set_up_process, config.assets.dir)
    set_up()
    engine = build_engine(config.engine, set_up)
    with explain_errors(config):
        settings = ExtractionSettings.from_config(data, people="one")
        faces = extract(vars(data)["source"], settings, analyse_on(engine))
    console = make_console()
    rejected = sum(faces.meta["rejected"].values())
    print_line(f"{name}: {len(faces)} faces are used, {rejected} were rejected", console)
    for line in (*describe_flaws(faces.flaws), *advise_pictures(faces)):
        print_line(f"  {line}", console)
    print_line(f"  look at  {short_path(faces.path / 'contact_sheet.png')}", console)
    return faces.path


def _set_up_process(weights: Path | None) -> None:
    from facesmith.training.run.log import silence_libraries

    silence_libraries()
    assets.use_directory(weights)


def _compose(overrides: Sequence[str]) -> ExtractConfig:
    def check(cfg: DictConfig) -> ExtractConfig:
        return validate(cfg, ExtractConfig)

    try:
        with open_config(_CONFIG, overrides) as cfg:
            config = check(cfg)
            check_training(config)
            return config
    except (HydraException, OmegaConfBaseException) as error:
        lines = override_mistakes(conf_folder(_CONFIG), _CONFIG, overrides, check)
        raise UserError("\n".join(lines) or " ".join(str(error).split())) from None
