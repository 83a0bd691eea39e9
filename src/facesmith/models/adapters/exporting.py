"""A checkpoint's export with adapters merged into it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from facesmith.errors import UserError
from facesmith.models.adapters.choice import Choice
from facesmith.models.adapters.mixing import mixed
from facesmith.models.onnx.spec import ExportSpec
from facesmith.models.swapper.shown import Shown


def said_of(choice: Choice) -> Mapping[str, str]:
    """Give what a merged file says of its adapters, as ONNX metadata_props."""
    return {"adapter": choice.name, "adapter_base": choice.cards[0].base.sha256}


def adapted(spec: ExportSpec, choice: Choice, path: Path) -> ExportSpec:
    """Give what a checkpoint's module exports, with adapters merged into its generator.

    Raises:
        UserError: it exports no swapper, or an adapter was made for another base.
    """
    if not isinstance(spec.module, Shown):
        raise UserError(f"adapter={choice.folders[0]}: {path} holds no swapper; give the adapter's own base")
    generator = mixed(spec.module.generator, choice, path)
    return replace(spec, module=Shown(generator).eval(), metadata={**spec.metadata, **said_of(choice)})
