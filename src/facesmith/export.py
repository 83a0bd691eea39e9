"""The export job: a checkpoint in, an ONNX file with its hash and model card out."""

from rich.console import Console

from facesmith import onnx
from facesmith.callbacks.protocols import Exports
from facesmith.checkpoint import load_module
from facesmith.config import ExportConfig
from facesmith.errors import UserError
from facesmith.failures import explained
from facesmith.quiet import quiet_libraries
from facesmith.run_log import logged
from facesmith.swapper_contract import SwapperContract


def export(config: ExportConfig) -> onnx.ExportReport:
    """Export the checkpoint's module into the output folder, named after its identity.

    Raises:
        UserError: the checkpoint is missing, broken or of a class that exports nothing.
        ExportError: the graph is not what the module computes.
    """
    quiet_libraries()
    with logged(config), explained(config):
        return _export(config)


def _export(config: ExportConfig) -> onnx.ExportReport:
    module = load_module(config.ckpt_path)
    if not isinstance(module, Exports):
        raise UserError(
            f"ckpt_path={config.ckpt_path}: holds a {type(module).__name__}, which exports nothing; "
            "give a swapper's checkpoint"
        )
    spec = module.export_spec()
    contract = SwapperContract.read(spec.metadata, config.ckpt_path)
    report = onnx.export(spec, config.output / f"{contract.identity}.onnx", opset=config.opset)
    Console().print(
        f"parity with torch: largest difference {report.parity:.1e} over {report.cases} batches, "
        f"{report.covered:.0%} of their pixels swapped\n"
        f"{report.bytes / 1e6:.1f} MB, opset {report.opset}, batch {report.batch}\n"
        f"model  {report.path}\nhash   {report.hash_path}\ncard   {report.card_path}",
        highlight=False,
        soft_wrap=True,
    )
    return report
