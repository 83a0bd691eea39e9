"""Every YAML under conf/ and sweeps/ composes and validates; every mistake is reported in one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from facesmith.cli.composition import compose_config
from facesmith.config.schema import ExportConfig, InferConfig, TrainConfig, validate
from facesmith.config.settings import Settings
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PRIMARY = {"train": TrainConfig, "infer": InferConfig, "export": ExportConfig}
TASK_NEEDS = {
    "swap": ["task.model=ada.onnx"],
    "embed": ["task.name=ada", "task.consent=self"],
    "blend": ["task.name=both"],
    "interpolate": ["task.name=between"],
    "enrich": ["task.profile=ada.json"],
    "validate": ["task.profile=ada.json"],
    "evaluate": ["task.swaps=swaps", "task.targets=targets", "task.sources=people"],
    "compare": ["task.model=[ada.onnx,bob.onnx]"],
    "generate": ["task.model=exports"],
    "mask": ["task.occluder=occluder.onnx"],
}
NEEDED = ["data.source=photos", "data.name=ada", "data.consent=self"]


def composed(primary: str, *overrides: str) -> DictConfig:
    """Compose as an entry point does, with a folder of the run."""
    return compose_config(primary, list(overrides), run=Path("runs/test"))


def mistakes(primary: str, *overrides: str) -> list[str]:
    """Return the lines a person sees."""
    with pytest.raises(UserError) as caught:
        validate(composed(primary, *overrides), PRIMARY[primary])
    return str(caught.value).splitlines()


def _options(group: str) -> Iterator[tuple[str, str]]:
    for path in sorted((CONF / group).rglob("*.yaml")):
        folder = path.parent.relative_to(CONF)
        yield str(folder), path.stem


TYPES = [option for _, option in _options("experiment") if not option.endswith("_demo")]
CHOICES = [
    choice
    for group in sorted(p.name for p in CONF.iterdir() if p.is_dir())
    if group not in ("hydra", "task", "local", "encoder", "engine", "memory", "trainer")  # trainers: with every type
    for choice in _options(group)
    if choice[1] not in TYPES
]


def filled(cfg: DictConfig) -> DictConfig:
    """Give what a config leaves to the user (`???`), whatever the training type."""
    known = {"name": "ada", "consent": "self", "target": "scene.mp4"}
    for key in _missing(OmegaConf.to_container(cfg, resolve=False)):
        OmegaConf.update(cfg, key, known.get(key.rpartition(".")[2], "photos"))
    return cfg


def _missing(value: object, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _missing(inner, f"{place}.{key}" if place else str(key))
    elif value == "???":
        yield place


@pytest.mark.parametrize("trainer", [option for _, option in _options("trainer")])
@pytest.mark.parametrize("experiment", TYPES)
def test_every_training_type_takes_every_trainer(experiment: str, trainer: str) -> None:
    cfg = filled(composed("train", f"experiment={experiment}", f"trainer={trainer}"))
    assert validate(cfg, TrainConfig).data.name


def test_memory_presets_are_of_a_type_and_a_trainer() -> None:
    pairs = {(f"memory/{d}", t) for _, t in _options("trainer") for _, d in _options("data")}
    assert set(_options("memory")) <= pairs


@pytest.mark.parametrize(("experiment", "batches"), [("identity", (1, 8, 16, 32)), ("occluder", (2, 8, 16, 32))])
def test_memory_presets_win_over_the_experiment(experiment: str, batches: tuple[int, ...]) -> None:
    trainers = ("low_memory", "default", "gpu_16gb", "gpu_24gb")
    chosen = [composed("train", f"experiment={experiment}", f"trainer={one}", *NEEDED) for one in trainers]
    assert tuple(cfg.data.batch_size for cfg in chosen) == batches
    own = composed("train", f"experiment={experiment}", "trainer=low_memory", "data.batch_size=3", *NEEDED)
    assert own.data.batch_size == 3


def test_low_memory_of_video_lora_offloads_activations() -> None:
    low = composed("train", "experiment=video_lora", "trainer=low_memory")
    assert (low.data.batch_size, low.model.offload) == (1, "activations")


@pytest.mark.parametrize("trainer", ["gpu_16gb", "gpu_24gb"])
def test_gpu_trainer_of_video_lora_takes_the_precision_of_its_base(trainer: str) -> None:
    chosen = composed("train", "experiment=video_lora", f"trainer={trainer}")
    assert (chosen.trainer.precision, chosen.model.base_dtype) == ("auto", "auto")


@pytest.mark.parametrize("experiment", [option for _, option in _options("experiment")])
def test_experiment_file_states_the_run(experiment: str) -> None:
    stated = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    for key in ("experiment_name", "monitor", "trainer.max_epochs", "data.batch_size", "model.optimizer.lr"):
        assert OmegaConf.select(stated, key) is not None, key


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=[f"{group}={option}" for group, option in CHOICES])
def test_every_training_option_goes_with_a_training_type(group: str, option: str) -> None:
    if group == "experiment":
        assert validate(filled(composed("train", f"experiment={option}")), TrainConfig).experiment_name
        return
    refused = {}
    for experiment in sorted(
        TYPES, key=lambda one: one not in f"{group}/{option}"
    ):  # its own type first, if it has one
        try:
            validate(filled(composed("train", f"experiment={experiment}", f"{group}={option}")), TrainConfig)
            return
        except (UserError, HydraException) as error:
            refused[experiment] = str(error)
    pytest.fail(str(refused))


@pytest.mark.parametrize("task", [p.stem for p in sorted((CONF / "task").glob("*.yaml"))])
def test_every_task_composes_and_validates(task: str) -> None:
    output = {"embed": "b.json", "blend": "b.json", "interpolate": "b.json", "enrich": "b.json"}.get(task, "b.png")
    output = "report" if task in ("validate", "evaluate") else output
    cfg = composed("infer", f"task={task}", *TASK_NEEDS[task], "source=a.png", f"output={output}")
    assert validate(cfg, InferConfig).source == "a.png"


def test_a_consent_that_has_run_out_trains_nobody() -> None:
    identity = ["experiment=identity", *NEEDED]
    assert validate(composed("train", *identity, "data.expires=2999-12-31"), TrainConfig)
    (line,) = mistakes("train", *identity, "data.expires=2020-01-31")
    assert "data.expires" in line
    assert "this date has passed" in line
    (line,) = mistakes("train", *identity, "data.expires=tomorrow")
    assert "data.expires" in line


@pytest.mark.parametrize("encoder", [p.stem for p in sorted((CONF / "encoder").glob("*.yaml"))])
def test_every_encoder_composes_and_validates(encoder: str) -> None:
    given = ["task=embed", f"encoder={encoder}", *TASK_NEEDS["embed"], "source=a.png"]
    config = validate(composed("infer", *given), InferConfig)
    chosen = (config.task.encoder or config.analyzer).target_
    assert (
        chosen.split(".")[-1]
        == {
            "clip": "ClipEncoder",
            "dinov3": "DinoEncoder",
            "sface": "MediaPipeAnalyzer",
            "arcface": "InsightFaceAnalyzer",
        }[encoder]
    )


def test_export_composes_and_validates() -> None:
    assert validate(composed("export", "ckpt_path=last.ckpt"), ExportConfig).to == "facesmith"


@pytest.mark.parametrize("sweep", [p.stem for p in sorted((ROOT / "sweeps").glob("*.yaml"))])
def test_every_sweep_composes_and_each_swept_key_stands(sweep: str) -> None:
    given = [f"hydra.searchpath=[file://{CONF}]"]
    own = filled(compose_config(sweep, given, run=Path("runs/test"), conf=ROOT / "sweeps"))
    validate(own, TrainConfig)
    params = HydraConfig.get().sweeper.params
    assert params
    for key in params:
        assert OmegaConf.select(own, key) is not None, key


def test_a_checkpoint_of_settings_round_trips() -> None:
    config = validate(composed("train", "experiment=identity", *NEEDED), TrainConfig)
    assert TrainConfig.model_validate(config.model_dump(by_alias=True)) == config


def test_closest_match_suggests_no_key_of_the_machinery() -> None:
    assert closest_match("targets", ["_target_", "name"]) is None
    assert closest_match("target", ["_target_", "targets"]) == "targets"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["+data.sourc=x"], "data.sourc: no such key; did you mean data.source?"),
        (["+trainer.max_epoch=3"], "trainer.max_epoch: no such key; did you mean trainer.max_epochs?"),
        (
            ["+callbacks.checkpoint.save_topk=3"],
            "callbacks.checkpoint.save_topk: no such key; did you mean callbacks.checkpoint.save_top_k?",
        ),
        (["+sed=1"], "sed: no such key; did you mean seed?"),
        (["trainer.max_epochs=many"], "trainer.max_epochs=many: must be a whole number"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: must be greater than or equal to 0"),
        (
            ["data.name=../elsewhere"],
            "data.name=../elsewhere: must be lower-case letters, digits, - and _, such as ada or scene_2",
        ),
        (
            ["data.consent=null"],
            "data.consent: required; choose one of self, written, licensed, public_domain, synthetic",
        ),
        (
            ["data.consent=slef"],
            "data.consent=slef: choose one of self, written, licensed, public_domain, synthetic; did you mean self?",
        ),
        (["media.backend=opencv"], "media.backend=opencv: choose one of pyav, decord"),
        (["trainer._target_=os.system"], "trainer"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_each_mistake_is_one_line_with_its_mend(overrides: list[str], line: str) -> None:
    lines = mistakes("train", "experiment=identity", *NEEDED, *overrides)
    assert any(found.startswith(line) for found in lines), lines


def test_all_mistakes_are_told_at_once() -> None:
    lines = mistakes("train", "experiment=identity", "data.max_frames=-1", "seed=x", "+typo=1")
    for key in ("data.source", "data.name", "data.consent", "data.max_frames", "seed", "typo"):
        assert any(line.startswith(key) for line in lines), (key, lines)


def test_a_missing_experiment_names_the_options() -> None:
    (line,) = mistakes("train")
    assert line.startswith("experiment: choose one of")
    assert "identity" in line


def test_targets_outside_the_known_packages_are_refused() -> None:
    lines = mistakes("train", "experiment=identity", *NEEDED, "+callbacks.evil._target_=os.system")
    assert any("callbacks.evil" in line and "os.system" in line for line in lines), lines


def test_every_settings_class_refuses_unknown_keys() -> None:
    assert Settings.model_config["extra"] == "forbid"
    assert Settings.model_config["strict"]


def test_a_misspelt_key_in_a_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults: [identity]\ndata:\n  max_frame: 30\ntrainer:\n  max_epoch: 2\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    lines = mistakes("train", f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", *NEEDED)
    assert lines == [
        "data.max_frame: no such key; did you mean data.max_frames?",
        "trainer.max_epoch: no such key; did you mean trainer.max_epochs?",
    ]
