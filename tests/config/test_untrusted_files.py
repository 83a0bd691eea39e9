"""Nothing runs that a file says: every door that opens a file is tried with files that ask for it.

Each attack would leave a sentinel file behind if it ran. It must not, and the error must be one line.
"""

import codecs
import json
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule
from omegaconf import OmegaConf
from safetensors.torch import save_file

from facesmith.annotate.prediction import load_occluder
from facesmith.cli.composition import compose_config, load_config
from facesmith.cli.export import export
from facesmith.config.schema import ExportConfig, TrainConfig
from facesmith.errors import UserError
from facesmith.methods.occluder.module import OccluderModule
from facesmith.methods.occluder.networks import load_encoder_weights
from facesmith.methods.swapper.module import SwapperModule
from facesmith.methods.video_lora.adapter_bundle import LORA, MAPPER, load_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.lora import CONFIG_KEY, FACTS_KEY, load_lora
from facesmith.models.adapters.store import load_adapter
from facesmith.models.checkpoint import RECORD
from facesmith.models.onnx.session import load_swapper
from facesmith.training.run.resume import expand_resume

from ..training.run.test_resume import a_run

Settings = dict[str, Any]
Attack = Callable[[Settings, Path], Any]

NEEDED = ["data.source=photos", "data.name=ada", "data.consent=self"]


class Touch:
    """What pickle would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """Return the file that no attack may leave behind; a resolver that would leave it is registered."""
    path = tmp_path / "sentinel"
    OmegaConf.register_new_resolver("untrusted_touch", lambda *_: path.touch() or 1, replace=True)
    yield path
    OmegaConf.clear_resolver("untrusted_touch")
    assert not path.exists()


@pytest.fixture(scope="module")
def swapper_settings() -> Settings:
    cfg = compose_config("train", ["experiment=identity", "model/generator=aad_fast", *NEEDED])
    return OmegaConf.to_container(cfg.model, resolve=True)  # type: ignore[return-value]


def shell(path: Path) -> Settings:
    """Return settings that torch would run as a command."""
    return {"_target_": "torch.utils.collect_env.run", "command": f"touch {path}"}


def pickled(path: Path) -> Path:
    """Write a pickle that leaves the sentinel when it is loaded."""
    found = path.with_name("evil.pkl")
    found.write_bytes(pickle.dumps(Touch(path)))
    return found


# name -> from settings that a checkpoint may hold, and the sentinel, to those of an attack
ATTACKS: dict[str, Attack] = {
    "shell_function": lambda good, path: shell(path),
    "nested_loss": lambda good, path: {**good, "loss": shell(path)},
    "nested_generator": lambda good, path: {**good, "generator": {"_target_": "os.system", "command": f"touch {path}"}},
    "optimizer": lambda good, path: {**good, "optimizer": {**shell(path), **good["optimizer"]}},
    "optimizer_of_torch": lambda good, path: {**good, "optimizer": {"_target_": "torch.optim.SGD", "params": []}},
    "torch_hub": lambda good, path: {
        **good,
        "loss": {"_target_": "torch.hub.load", "repo_or_dir": str(path.parent), "model": "x", "source": "local"},
    },
    "torch_load": lambda good, path: {
        **good,
        "loss": {"_target_": "torch.load", "f": str(pickled(path)), "weights_only": False},
    },
    "function_of_torch_nn": lambda good, path: {**good, "loss": {"_target_": "torch.nn.init.zeros_", "tensor": None}},
    "class_of_torch_nn": lambda good, path: {**good, "generator": {"_target_": "torch.nn.Identity"}},
    "class_with_a_side_effect": lambda good, path: {
        **good,
        "loss": {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "dirpath": str(path), "filename": "x"},
    },
    "own_class_of_another_kind": lambda good, path: {
        **good,
        "loss": {"_target_": "facesmith.training.run.csv_log.CsvLog", "folder": str(path), "flush_seconds": 1.0},
    },
    "own_function": lambda good, path: {
        **good,
        "loss": {"_target_": "facesmith.files.private_folder", "path": str(path)},
    },
    "re_export_of_torch": lambda good, path: {
        **good,
        "loss": {"_target_": "torch.nn.modules.module.torch.utils.collect_env.run", "command": f"touch {path}"},
    },
    "re_export_of_ours": lambda good, path: {
        **good,
        "loss": {"_target_": "facesmith.cli.doctor.platform.os.system", "command": f"touch {path}"},
    },
    "settings_imported_elsewhere": lambda good, path: {
        **good,
        "_target_": "facesmith.methods.swap_lora.x.OptimizerConfig",
    },
    "module_of_a_path": lambda good, path: {**good, "_target_": "..config.SwapperModule"},
    "partial": lambda good, path: {**good, "loss": {**good["loss"], "_partial_": True}},
    "args": lambda good, path: {**good, "loss": {**good["loss"], "_args_": [f"touch {path}"]}},
    "recursive": lambda good, path: {**good, "_recursive_": True},
    "resolver": lambda good, path: {**good, "loss": {**good["loss"], "embedder": "${untrusted_touch:}"}},
    "resolver_in_a_key": lambda good, path: {**good, "${untrusted_touch:}": 1},
    "environment": lambda good, path: {**good, "init_from": "${oc.env:HOME}"},
    "number_as_target": lambda good, path: {**good, "_target_": 7},
    "list_of_targets": lambda good, path: {**good, "loss": {"_target_": ["os.system", "os.remove"]}},
    "settings_as_target": lambda good, path: {**good, "loss": {"_target_": shell(path)}},
    "list_of_settings": lambda good, path: [shell(path)],
    "target_in_a_list": lambda good, path: {**good, "optimizer": {**good["optimizer"], "betas": [shell(path), 0.9]}},
    "empty_name": lambda good, path: {**good, "_target_": "facesmith."},
    "line_break": lambda good, path: {**good, "_target_": "facesmith.a\nb.c.D"},
    "private_part": lambda good, path: {**good, "_target_": "facesmith.methods.swapper.__class__.SwapperModule"},
    "foreign_letters": lambda good, path: {**good, "_target_": "ｆacesmith.methods.swapper.module.SwapperModule"},
    "endless_name": lambda good, path: {**good, "_target_": f"facesmith.{'a.' * 9999}X"},
    "line_break_in_a_key": lambda good, path: {**good, "a\nb": 1, "c\n${d}": 2},
    "thousands_of_keys": lambda good, path: {**good, **{f"key_{number}": 0 for number in range(5_000)}},
    "task_as_loss": lambda good, path: {**good, "loss": {"_target_": "facesmith.tasks.swap.task.SwapTask"}},
    "no_target": lambda good, path: {key: value for key, value in good.items() if key != "_target_"},
    "data_module_as_module": lambda good, path: {
        **good,
        "_target_": "facesmith.methods.swapper.data.SwapperDataModule",
    },
}


Door = Callable[[Path], Any]


def init_from(kind: type[LightningModule], overrides: list[str]) -> Door:
    """Return the door model.init_from= of a method; what the module asks of its data is left out."""
    built: list[Any] = []

    def start(path: Path) -> None:
        built[:] = built or [load_config("train", TrainConfig, [*overrides, "model.init_from=x"]).model.build()]
        module = built[0]
        module.config = module.config.model_copy(update={"init_from": path})
        data = SimpleNamespace(provenance=dict, require_embedder=lambda *_: None, unseen=[])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "datamodule", data)
            module.setup("fit")

    return start


@cache
def configured(name: str, schema: type[Any], *overrides: str) -> Any:
    return load_config(name, schema, overrides)


def base_of_lora(path: Path) -> None:
    needed = ["model.base=x", "data.target=scene.mp4", "data.name=ada", "data.consent=self"]
    configured("train", TrainConfig, "experiment=swap_lora", *needed).model.model_copy(update={"base": path}).build()


def ckpt_path_of_export(path: Path) -> None:
    export(configured("export", ExportConfig, "ckpt_path=x").model_copy(update={"ckpt_path": path}))


DOORS: dict[str, Door] = {
    "infer": load_swapper,
    "export": ckpt_path_of_export,
    "swapper_init_from": init_from(SwapperModule, ["experiment=identity", "model/generator=aad_fast", *NEEDED]),
    "occluder_init_from": init_from(OccluderModule, ["experiment=occluder", "model.encoder_weights=null", *NEEDED]),
    "swap_lora_base": base_of_lora,
    "annotate": load_occluder,
    "generate": load_bundle,
}


def checkpoint(path: Path, settings: object) -> Path:
    """Write a checkpoint of settings, otherwise as every door likes it."""
    provenance = {"base_hash": "0", "embedding": [1.0], "embedder": "sface", "identity": "ada", "face_set": "key"}
    torch.save({RECORD: {"settings": settings, "provenance": provenance, "version": "0.1"}, "state_dict": {}}, path)
    return path


@pytest.mark.parametrize("door", DOORS)
def test_checkpoint_settings_that_ask_for_more_run_nowhere(
    door: str, swapper_settings: Settings, sentinel: Path, tmp_path: Path
) -> None:
    for name, attack in ATTACKS.items():
        path = checkpoint(tmp_path / f"{name}.ckpt", attack(swapper_settings, sentinel))
        with pytest.raises(UserError) as caught:
            DOORS[door](path)
        assert len(str(caught.value).splitlines()) == 1, (name, str(caught.value))
        assert str(path) in str(caught.value), (name, str(caught.value))
        assert not sentinel.exists(), name


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", ["whole", RECORD, "settings", "state_dict"])
def test_checkpoint_with_pickled_code_does_not_load(door: str, place: str, sentinel: Path, tmp_path: Path) -> None:
    evil: Any = Touch(sentinel)
    whole: Any = {RECORD: {"settings": {}, "provenance": {}}, "state_dict": {}}
    content = evil if place == "whole" else {**whole, place: evil}
    if place == "settings":
        content = {**whole, RECORD: {"settings": evil, "provenance": {}}}
    path = tmp_path / "evil.ckpt"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"evil\.ckpt") as caught:
        DOORS[door](path)
    assert len(str(caught.value).splitlines()) == 1


class Call:
    """A call that torch's own unpickler makes for a file."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Call(bytearray, 10**15),
        Call(OrderedDict, 7),
        Call(set, 7),
        Call(torch.Size, ("x",)),
        Call(codecs.encode, "a", "no-such-codec"),
        Call(torch._utils._rebuild_parameter, 7, True, {}),
        Call(torch.Tensor, 10**6, 10**8),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_checkpoint_that_makes_the_unpickler_fail_is_one_line(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save(call, path)
    for door in DOORS.values():
        with pytest.raises(UserError, match=r"odd\.ckpt") as caught:
            door(path)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"odd\.ckpt"):
        load_encoder_weights(torch.nn.Linear(1, 1), path)


def test_checkpoint_with_a_strange_version_or_weights_is_one_line(swapper_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    for settings, version, state in (
        ({**swapper_settings, "x": 1}, "1\n2", {}),
        (swapper_settings, "1\n2", {"a\nb": torch.zeros(1)}),
        (swapper_settings, {"a": [1]}, {"a": "no tensor", 7: None}),
    ):
        record = {"settings": settings, "provenance": {"identity": "ada"}, "version": version}
        torch.save({RECORD: record, "state_dict": state}, path)
        with pytest.raises(UserError, match=r"odd\.ckpt") as caught:
            load_swapper(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "shape",
    [
        {"embedding_size": 10**7, "widths": [10**7], "tokens": 10**4, "text_width": 10**4, "dropout": 0.0},
        {"embedding_size": -1, "widths": [], "tokens": 1, "text_width": 1, "dropout": 0.0},
        {"embedding_size": 0, "widths": [], "tokens": 0, "text_width": 0, "dropout": 0.0},
        {"_target_": "os.system"},
        [1],
        None,
    ],
    ids=str,
)
def test_bundle_with_a_strange_mapper_is_one_line(shape: object, tmp_path: Path) -> None:
    halves = ("lora_A", "lora_B")
    save_file({f"transformer.blocks.0.attn1.to_q.{half}.weight": torch.zeros(4, 4) for half in halves}, tmp_path / LORA)
    metadata = {"mapper": json.dumps(shape), FACTS_KEY: "{}"}
    save_file({"embedding": torch.zeros(4), "head.weight": torch.zeros(4, 4)}, tmp_path / MAPPER, metadata=metadata)
    with pytest.raises(UserError, match="is a damaged mapper") as caught:
        load_bundle(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "7", "{"], ids=["deep", "list", "number", "cut"])
@pytest.mark.parametrize("key", [FACTS_KEY, CONFIG_KEY])
def test_lora_with_strange_metadata_is_one_line(key: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / LORA
    save_file({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.zeros(4, 4)}, path, metadata={key: text})
    with pytest.raises(UserError, match="its metadata are damaged"):
        load_lora(path)


@pytest.mark.parametrize(
    "content",
    [[], 7, {RECORD: None}, {RECORD: 7, "state_dict": {}}, {RECORD: {}, "state_dict": []}, {RECORD: {"settings": 1}}],
    ids=str,
)
def test_checkpoint_of_another_shape_is_one_line(content: object, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save(content, path)
    for door in DOORS.values():
        with pytest.raises(UserError, match=r"odd\.ckpt") as caught:
            door(path)
        assert len(str(caught.value).splitlines()) == 1


def test_checkpoint_settings_that_contain_themselves_are_one_line(swapper_settings: Settings, tmp_path: Path) -> None:
    looped = {**swapper_settings}
    looped["loss"] = looped
    with pytest.raises(UserError, match="they contain themselves"):
        load_swapper(checkpoint(tmp_path / "loop.ckpt", looped))


def goes_on(run: Path) -> TrainConfig:
    """Compose and validate what `resume=<run>` becomes, as the command does."""
    given = [one for one in expand_resume([f"resume={run}"]) if not one.startswith("hydra.run.dir=")]
    return load_config("train", TrainConfig, given)


@pytest.mark.parametrize(
    "override",
    [
        "+callbacks.evil={_target_: os.system, command: 'touch SENTINEL'}",
        "+callbacks.evil={_target_: torch.utils.collect_env.run, command: 'touch SENTINEL'}",
        "+callbacks.evil={_target_: torch.hub.load, repo_or_dir: x, model: y}",
        "+callbacks.evil={_target_: torch.load, f: PICKLE, weights_only: false}",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.os.system, command: 'touch SENTINEL'}",
        "+callbacks.evil={_target_: torch.nn.init.zeros_, tensor: x}",
        "+callbacks.evil={_target_: torch.nn.Identity}",
        "+callbacks.evil={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: SENTINEL}",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: {_target_: os.system}}",
        "callbacks.last._target_=os.system",
        "+logger.evil={_target_: os.system, command: 'touch SENTINEL'}",
        "+trainer.profiler={_target_: os.system, command: 'touch SENTINEL'}",
        "+trainer.plugins=[{_target_: os.system, command: 'touch SENTINEL'}]",
        "trainer._target_=torch.utils.collect_env.run",
        "++model.loss={_target_: os.system, command: 'touch SENTINEL'}",
        "model._target_=os.system",
        "+callbacks.evil={_target_: [os.system]}",
        "+callbacks.evil={_target_: 7}",
        "logging.file=SENTINEL",
        "callbacks.export.path=SENTINEL",
        "data.source=${untrusted_touch:}",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: '${untrusted_touch:}'}",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.EarlyStopping, _partial_: true}",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.EarlyStopping, _args_: [x]}",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+hydra.callbacks.evil={_target_: os.system}",
        "hydra.job_logging.handlers.console={(): os.system}",
        "hydra.searchpath=[file://SENTINEL]",
        "+callbacks.evil={_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: SENTINEL}",
        "callbacks.checkpoint.dirpath=SENTINEL",
        "+logger.evil={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: SENTINEL}",
        "+logger.evil={_target_: lightning.pytorch.loggers.MLFlowLogger, tracking_uri: 'https://example.org'}",
        "+trainer.profiler={_target_: lightning.pytorch.profilers.SimpleProfiler, dirpath: ../..}",
    ],
)
def test_run_folder_that_asks_for_more_runs_nothing(override: str, sentinel: Path, tmp_path: Path) -> None:
    override = override.replace("SENTINEL", str(sentinel)).replace("PICKLE", str(pickled(sentinel)))
    run = a_run(tmp_path / "run", "experiment=identity", *NEEDED)
    (run / "run.json").write_text(json.dumps({"overrides": ["experiment=identity", *NEEDED, override]}))
    with pytest.raises(UserError) as caught:
        goes_on(run)
    assert len(str(caught.value).splitlines()) == 1, str(caught.value)


def test_run_folder_with_the_users_own_callbacks_goes_on(tmp_path: Path) -> None:
    early = "+callbacks.early={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss, patience: 5}"
    profiler = "+trainer.profiler={_target_: lightning.pytorch.profilers.SimpleProfiler}"
    run = a_run(tmp_path / "run", "experiment=identity", *NEEDED, early, profiler)
    config = goes_on(run)
    assert config.callbacks["early"].build().patience == 5  # type: ignore[union-attr]
    assert type(config.trainer.arguments()["profiler"].build()).__name__ == "SimpleProfiler"


@pytest.mark.parametrize("name", ["train.log", "checkpoints", "renders/deep/link", "wandb"])
def test_run_folder_with_a_link_out_of_it_does_not_go_on(name: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "experiment=identity", *NEEDED)
    (run / "renders").mkdir()
    (run / "renders" / "inside").symlink_to(run / ".hydra")
    (run / "wandb/run-1/logs").mkdir(parents=True)
    (run / "wandb/run-1/logs/debug-core.log").symlink_to(tmp_path / "cache")
    goes_on(run)
    link = run / name
    link.parent.mkdir(exist_ok=True)
    shutil.rmtree(link, ignore_errors=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link out of the run's folder") as caught:
        goes_on(run)
    assert str(link) in str(caught.value)


@pytest.mark.parametrize("part", ["vae", "text_encoder", "scheduler", "transformer"])
@pytest.mark.parametrize(
    "said", [["os", "system"], ["diffusers", "DiffusionPipeline"], ["evil", "X"], "os", None, [1, 2]]
)
def test_video_base_that_names_another_class_does_not_load(part: str, said: object, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for name in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"):
        (base / name).mkdir(parents=True)
    (base / "transformer/config.json").write_text('{"_class_name": "WanVACETransformer3DModel"}')
    (base / "model_index.json").write_text(json.dumps({part: said}))
    opened = open_base(str(base))
    load = "empty_transformer" if part == "transformer" else f"load_{part}"
    with pytest.raises(UserError, match=f"its {part} is") as caught:
        getattr(opened, load)()
    assert len(str(caught.value).splitlines()) == 1


def test_video_base_with_strange_files_is_one_line(tmp_path: Path) -> None:
    base = tmp_path / "base"
    for name in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"):
        (base / name).mkdir(parents=True)
    for config in ("[]", "[" * 100_000, '{"_class_name": ["os"]}'):
        (base / "transformer/config.json").write_text(config)
        (base / "model_index.json").write_text("{}")
        with pytest.raises(UserError, match=r"model\.base="):
            open_base(str(base))
    parts = {"vae": "AutoencoderKLWan", "text_encoder": "UMT5EncoderModel", "scheduler": "UniPCMultistepScheduler"}
    said = {part: ["diffusers", name] for part, name in parts.items()}
    (base / "transformer/config.json").write_text('{"_class_name": "WanVACETransformer3DModel", "text_dim": "x"}')
    (base / "model_index.json").write_text(json.dumps(said))
    code = {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}, "tokenizer_class": "Evil"}
    (base / "tokenizer/tokenizer_config.json").write_text(json.dumps(code))
    (base / "tokenizer/evil.py").write_text("raise SystemExit('code of a base ran')")
    opened = open_base(str(base))
    for part in (*parts, "tokenizer"):
        with pytest.raises(UserError, match=f"its {part} cannot be loaded") as caught:
            getattr(opened, f"load_{part}")()
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match="text_dim is x"):
        _ = opened.text_width


def test_adapter_with_pickled_weights_does_not_load(sentinel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    evil = {"peft_type": "LORA", "auto_mapping": {"base_model_class": "system", "parent_library": "os"}}
    (folder / "adapter_config.json").write_text(json.dumps(evil))
    torch.save(Touch(sentinel), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").write_bytes(pickled(sentinel).read_bytes())
    (folder / "adapter.json").write_text(json.dumps({"_target_": "os.system", "command": f"touch {sentinel}"}))
    with pytest.raises(UserError, match="adapter=") as caught:
        load_adapter(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_onnx_with_data_outside_its_folder_does_not_load(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    (tmp_path / "secret.bin").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin"):
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, "offset": "0", "length": "16"}.items():
            weight.external_data.add(key=key, value=value)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        path = folder / "inswapper_128.onnx"
        path.write_bytes(model.SerializeToString())
        for door in (DOORS["infer"], DOORS["swap_lora_base"], DOORS["annotate"]):
            with pytest.raises(UserError, match=r"inswapper_128\.onnx") as caught:
                door(path)
            assert len(str(caught.value).splitlines()) == 1
