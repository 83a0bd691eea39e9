"""Values as people type them are taken as meant; impossible ones are refused in a line before anything starts."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from facesmith.cli.main import main
from facesmith.config.schema import TrainConfig

IDENTITY = ["experiment=identity", "data.consent=self"]

Started = Callable[..., TrainConfig]
Refused = Callable[..., list[str]]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[TrainConfig]:
    """Run commands up to the moment when torch would be imported; collect the settings they start with."""
    found: list[TrainConfig] = []
    module = ModuleType("facesmith.cli.train")
    module.train = found.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facesmith.cli.train", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    return found


@pytest.fixture
def started(starts: list[TrainConfig]) -> Started:
    def run(*arguments: str) -> TrainConfig:
        assert main(["train", *IDENTITY, *arguments]) == 0
        return starts.pop()

    return run


@pytest.fixture
def refused(starts: list[TrainConfig], capsys: pytest.CaptureFixture[str]) -> Refused:
    def run(*arguments: str) -> list[str]:
        try:
            code: object = main(["train", *IDENTITY, *arguments])
        except SystemExit as end:
            code = end.code
        assert code == 1, starts
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("error: ") for line in lines), lines
        assert not starts
        return [line.removeprefix("error: ") for line in lines]

    return run


NAMES = [
    "my clip (1).mp4",
    "ada's clip.mp4",
    "a, b.mp4",
    "a=b.mp4",
    "Müller Ä.jpg",
    "写真.jpg",
    "2024",
    "1e5",
    "2024_05_01",
    "007",
    "true",
    "nan",
    "-5",
    "pay$day.mp4",
    "c{1}.mp4",
    "clip[1].mp4",
    "range(1,3)",
    "choice(a,b)",
    "a b  c.mp4",
    "100%.mp4",
    "a#b;c&d!.mp4",
    'it"s.mp4',
    "@home.jpg",
    "🎬.mp4",
    "[half.mp4",
    "tab\tnew\nline.mp4",
]


def test_a_source_of_any_name_is_taken_as_it_is(started: Started) -> None:
    for name in NAMES:
        Path("photos", name).touch()
    for name in NAMES[::4]:
        assert started(f"data.source=photos/{name}", "data.name=ada").data.source == f"photos/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_the_value_that_hydra_reads(name: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from facesmith.cli.typed_values import as_typed

    for text in (name, f"photos/{name}"):
        (typed,) = as_typed([f"data.source={text}"])
        assert OverridesParser.create().parse_override(typed).value() == text


def test_a_list_of_such_names_is_a_list(started: Started) -> None:
    for name in ("my clip (1).mp4", "b.jpg"):
        Path("photos", name).touch()
    config = started("data.source=[photos/my clip (1).mp4, photos/b.jpg]", "data.name=ada")
    assert config.data.source == ["photos/my clip (1).mp4", "photos/b.jpg"]


def test_names_that_look_like_numbers_are_names(started: Started) -> None:
    config = started("data.source=photos", "data.name=2024_05_01", "data.expires=29991231", "data.consent_note=1e5")
    assert (config.data.name, config.name) == ("2024_05_01", "2024_05_01")
    assert (config.data.expires, config.data.consent_note) == ("29991231", "1e5")
    assert config.paths.run is not None
    assert config.paths.run.parent.name == "2024_05_01"


def test_a_home_folder_is_expanded(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = started("data.source=~/photos", "data.name=ada", "paths.face_sets=~/sets", "paths.runs=~/runs")
    assert config.paths.face_sets == tmp_path / "sets"
    assert config.paths.run is not None
    assert config.paths.run.is_relative_to(tmp_path / "runs")


def test_the_trainer_takes_any_argument_of_lightnings(started: Started) -> None:
    given = ["trainer.limit_val_batches=1", "+trainer.limit_train_batches=0.5", "trainer.overfit_batches=1"]
    config = started("data.source=photos", "data.name=ada", *given)
    assert config.trainer.arguments()["limit_val_batches"] == 1
    assert config.trainer.arguments()["limit_train_batches"] == 0.5


def test_a_share_that_is_called_like_a_path_is_a_number(started: Started) -> None:
    config = started("data.source=photos", "data.name=ada", "data.shares.target=0.25")
    assert config.data.shares["target"] == 0.25


def test_keys_of_text_take_nothing_else() -> None:
    """A number, a switch or a group would be spoilt by quotes."""
    from facesmith.cli.help import collect_keys
    from facesmith.cli.typed_values import TEXT_KEYS

    groups = {"model", "adapter"}  # of config groups too, whose options are names
    for key in collect_keys():
        if {key.name, key.name.rpartition(".")[2]} & TEXT_KEYS - groups and key.takes != "any value":
            assert "text" in key.takes or "path" in key.takes, key


def test_a_switch_that_is_called_like_a_path_stays_one() -> None:
    from facesmith.cli.typed_values import as_typed

    given = ["resume=true", "model.loss.identity=0.5", "model.validation.videos=2", "masks=[box,hull]"]
    assert as_typed(given) == given


WRONG = {
    "seed=4294967296": "less than 4294967296",
    "seed=-1": "greater than or equal to 0",
    "model.optimizer.lr=inf": "finite",
    "model.optimizer.weight_decay=nan": "finite",
    "model.optimizer.betas=[0.9,1.0]": "less than 1",
    "model.optimizer.final=1e400": "finite",
    "data.shares={target:0,reposed:0,reversed:0,self:0}": "above 0",
    "data.name=Ada Lovelace": "lower-case letters",
    "data.expires=2027-02-30": "range",
    "data.min_faces=-1": "greater than or equal to",
    "data.max_frames=1e3": "whole number",
    "data.batch_size=0": "greater than or equal to 1",
    "data.progress=maybe": "true or false",
    "data.holdout=x": "a number, or a list",
    "trainer.gradient_clip_val=-inf": "finite",
    "trainer.devices=some": "whole number, or a list: [a, b], or auto",
    "trainer.devices=0": "devices",
    "trainer.limit_val_batches=many": "number",
    "trainer.limit_train_batches=-1": "greater than or equal to 0",
    "trainer.limit_test_batches=1.5": "a share of them up to 1.0",
    "trainer.callbacks=[]": "write +callbacks.<name>",
    "trainer.logger=false": "logger=none",
    "trainer.default_root_dir=x": "paths.runs=<folder>",
    "trainer.enable_checkpointing=false": "callbacks.best=null",
    "trainer.plugins=foo": "list",
    "trainer.profiler=nonsense": "simple",
    "trainer.num_sanity_val_steps=1.5": "whole number",
    "trainer.val_check_interval=nan": "finite",
    "+trainer.strategy=magic": "must be auto, ddp",
    "+trainer.max_time=soon": "days:hours:minutes:seconds, such as",
    "data.workers=99999999999999999999": "too large",
    "data.pseudo_truth.frames=1.5": "whole number",
    "tags=3": "list",
    "callbacks.average.decay=1.0": "less than 1",
    "callbacks.best.mode=up": "choose one of min, max",
    "callbacks.best.save_top_k=-7": "greater than or equal to -1",
    "callbacks.last.every_seconds=inf": "finite",
    "callbacks.export.opset=99": "less than or equal to 23",
    "analyzer.min_score=nan": "finite",
    "+trainer.max_time={hours:x}": "numbers of days, hours, minutes, seconds",
    "trainer.devices=-2": "a training needs a device",
    "monitor=": "must not be empty",
    "data.consent_note=[a\nb]": r"[a\nb]: must be text",
    "+logger.more={_target_:lightning.pytorch.loggers.CSVLogger}": "required",
    "busy=perhaps": "choose one of refuse, wait",
    "paths.runs=~nobody_of_this_name/runs": "nobody_of_this_name",
}


def test_impossible_values_are_all_named_at_once(refused: Refused) -> None:
    keys = [text.partition("=")[0] for text in WRONG]
    assert len(set(keys)) >= len(keys) - 6
    for given in (list(WRONG)[::2], list(WRONG)[1::2]):
        lines = refused("data.source=photos", "data.name=ada", *given)
        for text in given:
            key = text.partition("=")[0].lstrip("+")
            found = [line for line in lines if line.startswith(key)]
            assert found, (key, lines)
            assert any(WRONG[text] in line for line in found), (text, found)
        assert not any("choose one of ;" in line or line.endswith("choose one of ") for line in lines)
        assert not any("[key]" in line or "literal" in line or "list[str]" in line for line in lines), lines


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("data.source=photo", "data.source=photo: there is no such file or folder; did you mean photos?"),
        ("data.source=", "data.source=: is empty"),
        ("data.source=a/b/c.mp4", "data.source=a/b/c.mp4: there is no such file or folder; a does not exist"),
        (f"data.source={'x' * 300}", f"data.source={'x' * 300}: cannot be a path (File name too long)"),
        ("data.source=[photos,3]", "data.source.1=3: must be text"),
        ("data.source=[]", "data.source: the list is empty; name a file or a folder"),
        (
            "monitor=val/judge_distanc",
            "monitor=val/judge_distanc: no such metric is measured; did you mean val/judge_d",
        ),
        (
            "monitor=judge_distance",
            "monitor=judge_distance: no such metric is measured; did you mean val/judge_distanc",
        ),
        ("monitor_mode=max", "monitor_mode=max: val/judge_distance is better smaller; write monitor_mode=min"),
        ("monitor=val/ssim", "monitor_mode=min: val/ssim is better larger; write monitor_mode=max"),
        (
            "objectives={val/judge_distance:min,val/ssim:min}",
            "objectives: val/ssim: min: val/ssim is better larger; write objectives: val/ssim: max",
        ),
        ("+data.holdout=0.1", "data.holdout: is there already; write data.holdout=0.1, without +"),
        ("callbacks.best.verbose=true", "callbacks.best.verbose: is no key of the preset, but an argument of"),
        ("data.shares.foo=1", "data.shares.foo: no such key; did you mean data.shares."),
        ("model.init_from=photo.ckpt", "model.init_from=photo.ckpt: there is no such file"),
        ("paths.runs=file/runs", "file/runs/identity/ada/"),
        ("assets.dir=nowhere", "assets.dir=nowhere: is not a directory"),
        ("~data", "~data: a config group stays; choose one of identity, identity_pretrain, occluder"),
        ("trainer.devices=[0,0]", "trainer.devices=[0,0]: names a device twice"),
        ("trainer.devices=true", "trainer.devices=true: must be a whole number"),
        ("analyzer=3", "analyzer=3: is a config group; choose one of insightface, mediapipe"),
        ("=3", "=3: names no key"),
        ("@=3", "@=3: names no key"),
        ("photos", "photos: has no value; write key=value"),
        ("logging.level=loud", "logging.level=loud: choose one of debug, info"),
        ("logging.file=/proc/x.log", "logging.file=/proc: cannot be written"),
        ("hydra/launcher=nosuch", "hydra/launcher=nosuch: no such option; choose one of basic"),
        ("experiment=identty", "experiment=identty: no such option; choose one of identity"),
        ("trainer=ddp,fsdp", "trainer=ddp,fsdp: a comma means many runs; add -m"),
        ("tags={a:1}", "tags={a:1}: this value does not fit the key"),
        ("callbacks.best.monitor=val/nothing", "callbacks.best.monitor=val/nothing: no such metric is measured"),
        ("data..name=x", "data..name='x': cannot be read; write key=value"),
        ("hydra.run.dir=", "hydra.run.dir=: is empty"),
        ("data.source=https://example.com/a.mp4", "data.source=https://example.com/a.mp4: is an address; download"),
        ("data.holdout=1.5", "data.holdout=1.5: must be at least 0 and below 1"),
        ("callbacks=null", "callbacks=null: is a config group; choose one of default, swap_lora, video_lora"),
        ("paths.runs=/proc/nowhere/runs", "/proc/nowhere"),
        ("paths=null", "paths: required"),
        ("paths.runs=a\0b", r"paths.runs='a\x00b': holds a NUL character"),
        ("experiment=../identity", "experiment=../identity: no such option; choose one of identity"),
        ("model=[swapper,occluder]", "model=[swapper,occluder]: takes one option"),
    ],
)
def test_a_mistake_is_one_line_before_torch(refused: Refused, given: str, line: str) -> None:
    Path("file").touch()
    (found,) = refused("data.source=photos", "data.name=ada", given)
    assert found.startswith(line)


REFERENCES = {
    "data.name=${nosuch}": "there is no key nosuch",
    "seed=${sed}": "there is no key sed; did you mean ${seed}?",
    "data.consent_note=${data.consent_note}": "refers to itself",
    "data.source=${data.max_frames.x}": "there is no key data.max_frames.x",
    "data.expires=${env:HOME}": "nothing is called env; ${oc.env:NAME} reads an environment variable, ${key} another",
    "data.holdout=${oc.env:NO_SUCH_VARIABLE}": "Environment variable 'NO_SUCH_VARIABLE' not found",
}


def test_a_reference_that_leads_nowhere_is_told_at_its_key_alone(refused: Refused) -> None:
    lines = refused(*REFERENCES)
    assert len(lines) == len(REFERENCES), lines
    for given, why in REFERENCES.items():
        assert any(line.startswith(f"{given}: {why}") for line in lines), (given, lines)


def test_control_characters_are_told_as_escapes_in_one_line(refused: Refused) -> None:
    (line,) = refused("data.source=pho\x1b[31m\ntos", "data.name=ada")
    assert line.startswith(r"data.source=pho\x1b[31m\ntos: there is no such file or folder")


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (["seed=range(5,1)"], ["seed=range(5,1): holds no number"]),
        (["seed=choice()"], ["seed=choice(): choice() cannot be evaluated; write 1,2 or choice(1,2)"]),
        (["seed=1,x", "data.max_frames=8,2.5"], ["seed=x: must be a whole", "data.max_frames=2.5: must be a whole"]),
        (["experiment=identity,nosuch"], ["experiment=nosuch: no such option; choose one of identity"]),
        (["data.nosuch=1,2"], ["data.nosuch: no such key; did you mean"]),
    ],
)
def test_a_mistake_in_any_value_of_a_sweep_is_told_before_its_first_job(
    refused: Refused, given: list[str], lines: list[str]
) -> None:
    found = refused("-m", "data.source=photos", "data.name=ada", *given)
    assert [one.startswith(line) for one, line in zip(found, lines, strict=True)] == [True] * len(lines), found


def test_a_folder_with_unreadable_ones_in_it_is_counted(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    assert started("data.source=photos", "data.name=ada").data.source == "photos"


SWAP = ["infer", "task=swap", "model=ada.onnx", "source=scene.mp4", "output=swapped.mp4"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["start=10", "end=5"], "task.end=5.0: must be after start=10.0"),
        (["start=abc", "scale=0x0"], "task.start=abc: must be seconds (12.5)"),
        (["output=scene.mp4"], "output=scene.mp4: is the source itself"),
        (["source=asset:nosuch"], "source=asset:nosuch: there is no such asset"),
        (["task=[swap,mask]"], "task=[swap,mask]: takes one option"),
        (
            ["provenance.key=key.pem", "provenance.certificate=ada.onnx"],
            "provenance.key=key.pem: there is no such file",
        ),
    ],
)
def test_a_mistake_of_a_swap_is_one_line_before_its_models_are_loaded(
    starts: list[TrainConfig],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    line: str,
) -> None:
    module = ModuleType("facesmith.cli.infer")
    module.infer = starts.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facesmith.cli.infer", module)
    for name in ("ada.onnx", "scene.mp4"):
        Path(name).touch()
    with pytest.raises(SystemExit) as end:
        main([*SWAP, *given])
    assert (end.value.code, starts) == (1, [])
    assert capsys.readouterr().err.startswith(f"error: {line}")
