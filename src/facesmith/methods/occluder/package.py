"""Make the files of the occluder that ships with the package out of a run of experiment=occluder_general.

    python -m facesmith.methods.occluder.package <run or checkpoint> [folder]

Writes `occluder.ckpt`, weights in float16 and settings, to start other trainings from, and `occluder.onnx`, the same
weights as `facesmith export to=xseg` writes them, for task=swap, task=mask and FaceFusion.
"""

import argparse
from pathlib import Path
from typing import Final

import torch

from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.methods.occluder.module import OccluderModule
from facesmith.models.checkpoint import RECORD, load_module, read_checkpoint
from facesmith.models.onnx.export import export
from facesmith.training.run.checkpoint_files import find_newest_checkpoint

FOLDER: Final = Path(__file__).parent / "general"


def package(source: Path, folder: Path) -> tuple[Path, Path]:
    """Write both files.

    Args:
        source: A run's folder, or a checkpoint of an occluder.
        folder: Where the files go.

    Returns:
        The checkpoint and the ONNX file.

    Raises:
        UserError: It holds no occluder.
    """
    path = find_newest_checkpoint(source).path if source.is_dir() else source
    module = load_module(path) if path is not None else None
    if path is None or not isinstance(module, OccluderModule):
        raise UserError(f"{source}: holds no occluder; give a run of experiment=occluder_general")
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in module.state_dict().items()
    }
    checkpoint, graph = folder / "occluder.ckpt", folder / "occluder.onnx"
    record = read_checkpoint(path)[RECORD]
    with atomic_write(checkpoint) as temporary:
        torch.save({"state_dict": halves, RECORD: record}, temporary)
    rounded = load_module(checkpoint)
    assert isinstance(rounded, OccluderModule)
    export(rounded.export_spec(), graph)
    return checkpoint, graph


def main() -> None:
    """Read the command line, write the files and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    given = parser.parse_args()
    for path in package(given.source, given.folder):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
