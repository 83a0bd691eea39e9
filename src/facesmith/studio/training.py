"""Command lines of trainings: made of a few fields, held against the settings before anything is started."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from facesmith.cli.composition import open_config
from facesmith.cli.help import Key, collect_keys, describe_type, field_docs
from facesmith.cli.mistakes import override_mistakes
from facesmith.cli.preflight import check_training
from facesmith.cli.typed_values import as_typed, take_trainer_arguments
from facesmith.config.conf_folder import conf_folder, folders
from facesmith.config.schema import TrainConfig, TrainerConfig, validate
from facesmith.config.settings import Settings
from facesmith.errors import UserError
from facesmith.progress import format_duration
from facesmith.studio.project import Project
from facesmith.studio.runs import list_runs
from facesmith.studio.words import argument, check_slug
from facesmith.training.run.resume import flatten

TYPES: Final = {
    "identity": "Identity: a person, onto any target",
    "swap_lora": "Scene adapter: a trained person, fitted to one scene",
    "occluder": "Occluder: what covers a face",
    "video_lora": "Video LoRA: a face for Wan2.1-VACE",
}
DEMOS: Final = ("identity_demo", "occluder_demo", "swap_lora_demo", "video_lora_demo")
_MEDIA: Final = ("source", "targets", "target", "faces", "videos", "base")
_WRITTEN: Final = ("dirpath", "filename", "folder", "path")  # of callbacks and loggers, some of which are Lightning's
_NUMBERS: Final = ("trainer.max_epochs", "data.batch_size", "rank")
_RANKS: Final = {"swap_lora": "model.rank", "video_lora": "model.lora.rank"}
_HUB: Final = re.compile(r"[\w.-]+/[\w.-]+")
_BARRED: Final = re.compile(
    r"[+~]*(hydra|paths|logging|assets|provenance|resume|callbacks\.\w+\.(folder|path|dirpath))\b"
)
_TARGET: Final = "_target_"
_HYDRA: Final = threading.Lock()

C = TypeVar("C", bound=Settings)


@dataclass(frozen=True, kw_only=True)
class TrainingForm:
    """The fields of the page; empty ones are left to the experiment.

    Attributes:
        type: A key of `TYPES`, or one of `DEMOS`, which needs nothing else.
        name: Of person or scene.
        source: Photos and videos; of a scene adapter the person's, of a video LoRA the faces'.
        consent: Kind of consent.
        note: Who agreed to what.
        until: Last day of the consent, as 2027-12-31.
        epochs: Passes over the data.
        batch: Pictures a step.
        hardware: Option of the config group `trainer`.
        generator: Of an identity: option of `model/generator`.
        base: Of a scene adapter: the swapper.
        target: Of a scene adapter: the scene; of a video LoRA: the dances.
        rank: Of the adapters.
        masks: Of an occluder: painted masks.
        more: Further `key=value`, one a line.
    """

    type: str = "identity"
    name: str = ""
    source: str = ""
    consent: str = ""
    note: str = ""
    until: str = ""
    epochs: float | None = None
    batch: float | None = None
    hardware: str = "default"
    generator: str = ""
    base: str = ""
    target: str = ""
    rank: float | None = None
    masks: str = ""
    more: str = ""

    def words(self, project: Project) -> list[str]:
        """Return the command's words, checked as far as paths and names go.

        Args:
            project: It runs in.

        Raises:
            UserError: A name is none, a path lies elsewhere, or a further key is not for this page.
        """
        if self.type not in (*TYPES, *DEMOS):
            raise UserError(f"type={self.type[:40]}: choose one of {', '.join((*TYPES, *DEMOS))}")
        words = ["train", f"experiment={self.type}"]
        if self.type not in DEMOS:
            words += self._person(project) + self._material(project)
        usual = dict(zip(_NUMBERS, defaults_of(self.type), strict=True))
        rank = _RANKS.get(self.type)
        given = {"trainer.max_epochs": self.epochs, "data.batch_size": self.batch, "rank": self.rank if rank else None}
        for key, value in given.items():
            if value is not None and value != usual[key]:
                words.append(f"{rank if key == 'rank' else key}={_whole(key, value)}")
        if self.hardware and self.hardware != "default":
            words.append(f"trainer={check_slug(self.hardware, 'trainer')}")
        if self.generator and self.type == "identity" and self.generator != "mesh_warp":
            words.append(f"model/generator={check_slug(self.generator, 'model/generator')}")
        return [*words, *_further(self.more), *project.path_arguments()]

    def _person(self, project: Project) -> list[str]:
        words = [f"data.name={check_slug(self.name, 'name')}"]
        if self.source.strip():
            key = "data.faces" if self.type == "video_lora" else "data.source"
            words.append(argument(key, project.existing(self.source, key)))
        words += [f"data.consent={check_slug(self.consent, 'consent')}"] if self.consent else []
        words += [argument("data.consent_note", self.note.strip())] if self.note.strip() else []
        words += [argument("data.expires", self.until.strip())] if self.until.strip() else []
        return words

    def _material(self, project: Project) -> list[str]:
        wanted: list[tuple[str, str]] = []
        if self.type == "swap_lora":
            wanted = [("model.base", self.base), ("data.target", self.target)]
        if self.type == "identity" and self.target.strip():
            wanted = [("data.targets", self.target)]
        if self.type == "video_lora":
            wanted = [("model.base", self.base), ("data.videos", self.target)]
        if self.type == "occluder" and self.masks.strip():
            wanted = [("data.masks", self.masks)]
        found = []
        for key, value in wanted:
            on_a_hub = (
                self.type == "video_lora" and key == "model.base" and re.fullmatch(r"[\w.-]+/[\w.-]+", value.strip())
            )
            if value.strip():
                found.append(argument(key, value.strip() if on_a_hub else project.existing(value, key)))
        return found


def check(project: Project, form: TrainingForm) -> list[str]:
    """Return the words of a training that can be started: what the settings classes refuse is refused here.

    Args:
        project: It runs in.
        form: The fields.

    Raises:
        UserError: One line for each mistake.
    """
    words = form.words(project)

    def hold(config: TrainConfig) -> None:
        _check_paths(project, config)
        check_training(config)

    compose("train", TrainConfig, take_trainer_arguments(words[1:]), hold)
    return words


def compose(
    name: str,
    schema: type[C],
    overrides: list[str],
    then: Callable[[C], None] = lambda config: None,
    keep: tuple[str, ...] = (),
) -> C:
    """Compose and validate a config, one at a time: Hydra keeps it in the process.

    Args:
        name: The primary config.
        schema: Its settings class.
        overrides: As on the command line.
        then: Further checks, while the config is open.
        keep: The keys that the class has, where the config holds others too; none for all.

    Raises:
        UserError: One line for each mistake.
    """

    def hold(cfg: DictConfig) -> C:
        return validate(OmegaConf.masked_copy(cfg, list(keep)) if keep else cfg, schema)

    typed = as_typed(overrides)
    with _HYDRA:
        GlobalHydra.instance().clear()  # of the command that opened the page
        try:
            with open_config(name, typed) as cfg:
                config = hold(cfg)
                then(config)
                return config
        except (HydraException, OmegaConfBaseException) as error:
            lines = override_mistakes(conf_folder(name), name, typed, hold)
            raise UserError("\n".join(lines) or " ".join(str(error).split())) from None


def estimate(project: Project, type: str, epochs: float | None) -> str:
    """Estimate the duration and memory of a training by the last one of its type that ended well.

    Args:
        project: Whose runs are asked.
        type: The experiment.
        epochs: Wanted; None: as many as that one had.
    """
    for run in list_runs(project):
        record = run.record
        if record is None or record.status != "completed" or record.experiment != type or not record.epochs:
            continue
        seconds = record.seconds / record.epochs * (epochs or record.epochs)
        memory = record.peak_gpu_memory_mb or record.peak_memory_mb or 0
        where = "of the GPU" if record.peak_gpu_memory_mb else "of memory"
        return (
            f"about {format_duration(seconds)} and {memory / 1024:.1f} GB {where}, by {project.short(run.folder)} "
            f"({record.epochs} epochs took {format_duration(record.seconds)})"
        )
    return "no run of this type has ended here yet: time and memory stand in the run after its first steps"


@cache
def options(group: str) -> list[str]:
    """Return the options of a config group.

    Args:
        group: Such as `trainer` or `model/generator`.
    """
    return sorted({path.stem for folder in folders("conf") for path in (folder / group).glob("*.yaml")})


@cache
def defaults_of(type: str) -> tuple[int | None, int | None, int | None]:
    """Return an experiment's epochs, batch size and rank; None for what it has not.

    Args:
        type: The experiment.
    """
    stated = _read_conf(f"experiment/{type}.yaml")
    numbers = [OmegaConf.select(stated, key) for key in _NUMBERS[:2]]
    rank = _RANKS.get(type, "").removeprefix("model.")
    numbers.append(OmegaConf.select(_read_conf(f"model/{type}.yaml"), rank) if rank else None)
    epochs, batch, own = (number if isinstance(number, int) else None for number in numbers)
    return epochs, batch, own


@cache
def keys_of(type: str) -> dict[str, Key]:
    """Return every key of an experiment by name, with what it takes and means.

    Args:
        type: The experiment.
    """
    data = "identity" if type == "identity" else type
    model = "swapper" if type == "identity" else type
    wanted = ("", "trainer=default", f"data={data}", f"model={model}", "model/generator=mesh_warp", "callbacks=default")
    docs = field_docs(TrainerConfig)
    found: dict[str, Key] = {}
    for key in collect_keys():
        plain = key.name.removeprefix("trainer.")
        if key.name.startswith("trainer.") and plain in docs:
            field = TrainerConfig.model_fields[plain]
            key = key._replace(meaning=docs[plain], takes=describe_type(field.annotation, field.metadata))
        if key.command == "train" and key.option in wanted and not _BARRED.match(key.name) and key.name != "resume":
            found.setdefault(key.name, key)
    return found


def _read_conf(name: str) -> DictConfig:
    for folder in folders("conf"):
        if (folder / name).is_file():
            found = OmegaConf.load(folder / name)
            return found if isinstance(found, DictConfig) else OmegaConf.create({})
    return OmegaConf.create({})


def _further(text: str) -> list[str]:
    words = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for word in words:
        if not re.match(r"[+~]*[A-Za-z_][\w./@]*(=|$)", word):
            raise UserError(f"{word[:80]}: write key=value, one a line")
        if _BARRED.match(word) or _TARGET in word or "${" in word:
            raise UserError(f"{word[:80]}: is not for this page; start it in a terminal")
    return words


def _check_paths(project: Project, config: TrainConfig) -> None:
    """Refuse files outside of the project, by whichever key they came in."""
    parts = {"data": config.data, "model": config.model, "callbacks": config.callbacks, "logger": config.logger}
    for key, value in flatten({name: _dump(part) for name, part in parts.items()}).items():
        for one in value if isinstance(value, list) else [value]:
            part, name = key.partition(".")[0], key.rpartition(".")[2]
            written = part in ("callbacks", "logger") and name in _WRITTEN
            named = isinstance(one, str) and (name in _MEDIA or written)
            if (isinstance(one, Path) or named) and not str(one).startswith("asset:"):
                _check_inside(project, str(one), key)


def _dump(part: object) -> object:
    if isinstance(part, BaseModel):
        return part.model_dump(by_alias=True)
    return {name: _dump(one) for name, one in part.items()} if isinstance(part, Mapping) else part


def _check_inside(project: Project, named: str, key: str) -> None:
    if key == "model.base" and _HUB.fullmatch(named) and not (project.root / named).exists():  # a name on a hub
        return
    project.resolve(named, key)


def _whole(key: str, value: float) -> int:
    if value != int(value):
        raise UserError(f"{key}={value:g}: must be a whole number")
    return int(value)
