"""Settings of adapters, and of swappers that are only a file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from facesmith.config.file_settings import OnnxFile
from facesmith.config.settings import PathSetting, Settings

Weight = Annotated[float, Field(ge=-2, le=2)]


class AdapterSettings(Settings):
    """Adapters that are merged into a model, see `facesmith.models.adapters.spec.load_adapters`."""

    adapter: PathSetting | list[PathSetting] | None
    """Adapter folder, or several of one base."""
    adapter_weights: list[Weight] | None
    """Share of each adapter, -2..2; null: equal shares."""
    adapter_scale: float = Field(ge=0, le=2)
    """Factor of all adapters together, 0..2; 0 is the base itself."""

    @model_validator(mode="after")
    def _weights_have_adapters(self) -> "AdapterSettings":
        count = 0 if self.adapter is None else len(self.adapter) if isinstance(self.adapter, list) else 1
        if self.adapter_weights is not None and len(self.adapter_weights) != count:
            raise ValueError(f"adapter_weights: {len(self.adapter_weights)} for {count} adapters; give one for each")
        return self


class SwapperFileSettings(Settings):
    """Properties that a swapper's file may not state."""

    model_type: Literal[
        "auto",
        "facesmith",
        "hyperswap",
        "inswapper",
        "ghost",
        "hififace",
        "simswap",
        "blendswap",
        "uniface",
        "dfm",
    ]
    """Kind of the swapper; auto: from the file's metadata, suffix or name."""
    converter: OnnxFile | None
    """Network (crossface_*.onnx) that turns ArcFace embeddings into those the swapper was trained with."""
    raw_length: float = Field(gt=0)
    """Length of an ArcFace embedding before normalisation, for converters: a profile keeps its direction only."""


class LoraSettings(Settings):
    """A LoRA, see `facesmith.models.adapters.lora.add_lora`."""

    rank: int = Field(ge=4, le=128)
    """Rank of the change to each layer; a layer with fewer inputs or outputs gets no more than it has."""
    alpha: float | None = Field(gt=0)
    """The change is scaled by alpha / rank; null: by 1."""
    dropout: float = Field(ge=0, lt=1)
    """Share of a layer's inputs that are dropped in training, 0..1."""
    rslora: bool
    """Scale by alpha / sqrt(rank) instead."""
    dora: bool
    """Train magnitude and direction of the weights separately (DoRA)."""
    targets: list[str] | None = Field(min_length=1)
    """Names, or parts of dotted names, of Linear and Conv2d layers; null: those the generator lists, or every one."""
