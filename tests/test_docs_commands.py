"""Every command in README and docs is one that facesmith takes: it composes, its keys and values are valid."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from facesmith.annotate.config import AnnotateConfig
from facesmith.cli.composition import open_config
from facesmith.cli.jobs import infer_arguments
from facesmith.cli.main import COMMANDS, HYDRA, VERBS
from facesmith.cli.sweep_files import expand_sweep
from facesmith.cli.typed_values import as_typed, take_trainer_arguments
from facesmith.config.schema import ExportConfig, InferConfig, TrainConfig, validate
from facesmith.config.studio import StudioConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = ("README", "index", "tutorial", "installation")
SCHEMAS = {
    "train": TrainConfig,
    "infer": InferConfig,
    "export": ExportConfig,
    "annotate": AnnotateConfig,
    "studio": StudioConfig,
}
SAMPLES = {"name": "ada", "consent": "self", "target": "scene.mp4", "model": "ada.onnx", "ckpt_path": "last.ckpt"}


def commands(page: Path) -> list[str]:
    """Return the command lines in the page's code blocks, joined where they go on, without comments."""
    found: list[str] = []
    for block in re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            plain = re.sub(r"\s+#.*$", "", line.strip())
            if plain.startswith("facesmith "):
                found.append(plain)
    return found


def missing(value: object, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from missing(inner, f"{place}.{key}" if place else str(key))
    elif value == "???":
        yield place


def filled(cfg: DictConfig) -> DictConfig:
    """Give what a page leaves out with `...`."""
    for key in missing(OmegaConf.to_container(cfg, resolve=False)):
        OmegaConf.update(cfg, key, SAMPLES.get(key.rpartition(".")[2], "photos"))
    return cfg


def check(command: str) -> None:
    text = re.sub(r"<time>", "2026-01-31_12-00-00", command)
    text = re.sub(r"<[^<>]*>", "some.onnx", re.sub(r"[\[(]?\|[^ ]*", "", text)) if "<" in text else text
    words = [word for word in shlex.split(text)[1:] if word != "..."]
    name, given = words[0], words[1:]
    assert name in COMMANDS or name.startswith("-"), command
    if name in VERBS and name != "faces" and given:
        assert given[0].startswith(VERBS[name]) or given[0].startswith("-"), command
    if name not in HYDRA or "--help" in given or any(word.startswith("resume=") and "/" in word for word in given):
        return
    open_ended = "..." in command.split() or "--cfg" in given
    if "-m" in given or "sweep=" in command:  # the first of what is swept over
        given = [re.sub(r"^([\w.]+=)([^=\[(,]+),.*", r"\1\2", word) for word in given]
    given = [word for word in given if not word.startswith("-") and word != "job" and "=tag(" not in word]
    if open_ended:
        left_out = ["source=a.png", "output=b.png"] if name == "infer" else ["experiment=identity"]
        keys = [word.partition("=")[0] for word in given]
        given = [*[word for word in left_out if word.partition("=")[0] not in keys], *given]
    folder, config = None, name
    typed = as_typed(given)
    if name == "train":
        expanded = expand_sweep(typed)
        if "--config-dir" in expanded:
            folder, config = Path(expanded[1]), expanded[3]
            expanded = [*expanded[4:], f"hydra.searchpath=[file://{ROOT / 'conf'}]"]
        typed = take_trainer_arguments(expanded)
    if name == "infer":
        typed = infer_arguments(typed)
    with open_config(config, typed, run=Path("runs/test"), conf=folder) as cfg:
        if open_ended:
            cfg = filled(cfg)
        validate(cfg, SCHEMAS[name])


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in QUICK], ids=lambda page: page.stem)
def test_each_command_of_the_first_pages_composes(page: Path) -> None:
    for command in commands(page):
        check(command)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in QUICK], ids=lambda page: page.stem)
def test_each_command_of_the_other_pages_composes(page: Path) -> None:
    for command in commands(page):
        check(command)
