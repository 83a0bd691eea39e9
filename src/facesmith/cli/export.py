"""The export job: a checkpoint in; a model file, its model card and, where the client reads one, its hash out."""

import sys
from dataclasses import replace
from pathlib import Path

from facesmith import assets
from facesmith.config.schema import ExportConfig
from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.models.adapters.merge import merge_into_export, write_merged
from facesmith.models.adapters.spec import AdapterSpec, load_adapters
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx import export as onnx_export
from facesmith.models.onnx.clients import XSEG_CONTRACT, XSEG_INPUT, spec_for
from facesmith.models.onnx.export_spec import ExportReport, Exports, ExportSpec
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.info import CONTRACTS, SwapperInfo
from facesmith.progress import waiting
from facesmith.terminal import make_console, print_line
from facesmith.training.run.log import silence_libraries


def export(config: ExportConfig) -> ExportReport | None:
    """Export the checkpoint's module into the output folder, named as its client looks for it.

    Args:
        config: The checkpoint, the client in `to`, and what the file should be.

    Returns:
        A report for swappers and occluders; None for video_lora, whose files are printed as they are written.

    Raises:
        UserError: The checkpoint is missing, broken or of a class that exports nothing, or the client cannot run such
            a model.
        ExportError: The graph is not what the module computes.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    config = config.model_copy(update={"ckpt_path": Path(assets.resolve(str(config.ckpt_path)))})
    if config.to in ("diffusers", "comfyui", "onnx", "onnx_mapper"):
        _export_person(config)
        return None
    adapters = load_adapters(config.adapter, config.adapter_weights, config.adapter_scale)
    if config.ckpt_path.suffix in (".onnx", ".dfm"):
        return _export_file(config, adapters)
    with waiting(f"reading {config.ckpt_path.name}"):
        module = load_module(config.ckpt_path)
    if not isinstance(module, Exports):
        raise UserError(
            f"ckpt_path={config.ckpt_path}: holds a {type(module).__name__}, which cannot be exported; "
            "give a swapper's or an occluder's checkpoint; one of video_lora goes to=diffusers, comfyui or onnx"
        )
    own = module.export_spec()
    if config.to == "xseg" or own.metadata["contract"] == XSEG_CONTRACT:
        return _export_occluder(config, own)
    if adapters is not None:
        own = merge_into_export(own, adapters, config.ckpt_path)
    profile = IdentityProfile.load(config.profile) if config.profile is not None else None
    spec = spec_for(config.to, own, origin=config.ckpt_path, size=config.size, profile=profile)
    info = SwapperInfo.from_metadata(spec.metadata, config.ckpt_path, kind=config.to)
    name = info.identity
    if adapters is not None:
        spec, name = replace(spec, metadata={**spec.metadata, **adapters.metadata}), f"{name}_{adapters.slug}"
    path, card_path = _paths(config, name)
    with waiting(f"writing {path.name} and comparing it with torch"):
        report = onnx_export.export(
            spec,
            path,
            opset=config.opset,
            precision=config.precision,
            dynamic_batch=config.to != "hyperswap",  # its slot has a batch of one
            hashed=config.to != "dfm",
            card_path=card_path,
        )
    _print_report(report)
    return report


def _export_person(config: ExportConfig) -> None:
    """Write what video_lora learnt: its LoRA in another naming, or its graphs."""
    from facesmith.methods.video_lora.export import convert_lora, export_graphs

    if config.to in ("onnx", "onnx_mapper"):
        lines = export_graphs(config.ckpt_path, config.to, config.output, config.base, config.opset)
    else:
        lines = convert_lora(config.ckpt_path, config.to, config.output, config.base)
    for line in lines:
        print_line(line, make_console())


def _export_file(config: ExportConfig, adapters: AdapterSpec | None) -> ExportReport:
    """Merge adapters into a model that is only a file; it keeps its contract, its name gets the scene's."""
    path = config.ckpt_path
    if adapters is None:
        raise UserError(
            f"ckpt_path={path}: is an exported file already; give a checkpoint, or adapter=<folder> to merge into it"
        )
    changed = {
        "size": config.size is not None,
        "profile": config.profile is not None,
        "precision": config.precision != "fp32",
    }
    for key, given in changed.items():
        if given:
            raise UserError(f"{key}: a file keeps its own; omit {key}, or give the checkpoint")
    file = OnnxGraph(path, "ckpt_path")
    kind = {contract: kind for kind, contract in CONTRACTS.items()}.get(file.metadata.get("contract", ""))
    if config.to not in ("facesmith", kind):
        raise UserError(f"to={config.to}: {path} keeps its own contract; omit to=, or give the checkpoint")
    with waiting(f"merging into {path.name} and comparing it with torch"):
        report = write_merged(path, adapters, config.output)
    _print_report(report)
    return report


def _export_occluder(config: ExportConfig, spec: ExportSpec) -> ExportReport:
    if spec.metadata["contract"] != XSEG_CONTRACT:
        raise UserError(f"to=xseg: {config.ckpt_path} holds a swapper; give an occluder's checkpoint, or another to=")
    if config.to != "xseg":
        raise UserError(f"to={config.to}: {config.ckpt_path} holds an occluder; give to=xseg")
    size = spec.inputs[XSEG_INPUT].shape[1]
    if config.size not in (None, size):
        raise UserError(f"size={config.size}: this occluder was trained for crops of {size} px; omit size")
    if config.profile is not None:
        raise UserError(f"profile={config.profile}: an occluder has no identity; omit profile")
    path = config.output / "xseg" / f"{spec.metadata['identity']}.onnx"
    with waiting(f"writing {path.name} and comparing it with torch"):
        report = onnx_export.export(spec, path, opset=config.opset, precision=config.precision)
    _print_report(report, "visible face")
    return report


def _paths(config: ExportConfig, identity: str) -> tuple[Path, Path | None]:
    """Where model and card go; None for the card's usual place."""
    if config.to == "hyperswap":
        # FaceFusion finds a slot by these very names
        return config.output / "hyperswap" / identity / "hyperswap_1a_256.onnx", None
    if config.to == "dfm":
        # Beside a .dfm FaceFusion takes every file of its name for a model, but for those that begin with __.
        return config.output / "dfm" / f"{identity}.dfm", config.output / "dfm" / f"__{identity}.md"
    return config.output / f"{identity}.onnx", None


def _print_report(report: ExportReport, meant: str = "swapped") -> None:
    print_line(
        f"parity with torch: largest difference {report.parity:.1e} (allowed {report.tolerance:.0e}) over "
        f"{report.cases} batches, {report.covered:.0%} of their pixels {meant}\n"
        f"{report.bytes / 1e6:.1f} MB, {report.precision}, opset {report.opset}, batch {report.batch}\n"
        f"model  {report.path}\n"
        + (f"hash   {report.hash_path}\n" if report.hash_path else "")
        + f"card   {report.card_path}",
        make_console(),
    )


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["export", *sys.argv[1:]]))
