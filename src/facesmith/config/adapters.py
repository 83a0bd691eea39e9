"""Settings of whatever lays adapters on a model, and of a swapper that is only a file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting, Settings

Weight = Annotated[float, Field(ge=-2, le=2)]


class AdapterChoiceSettings(Settings):
    """Which adapters: see `facesmith.models.adapters.spec.choose`."""

    adapter: PathSetting | list[PathSetting] | None
    adapter_weights: list[Weight] | None
    adapter_scale: float = Field(ge=0, le=2)

    @model_validator(mode="after")
    def _weights_have_adapters(self) -> "AdapterChoiceSettings":
        count = 0 if self.adapter is None else len(self.adapter) if isinstance(self.adapter, list) else 1
        if self.adapter_weights is not None and len(self.adapter_weights) != count:
            raise ValueError(f"adapter_weights: {len(self.adapter_weights)} for {count} adapters; give one for each")
        return self


class SwapperFileSettings(Settings):
    """What a swapper's file may not say of itself.

    model_type: its kind, `auto` where metadata or name tell. converter: the network that turns embeddings into those it
    was trained with. raw_length: of an ArcFace embedding before it is normalised, for converters.
    """

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
    converter: PathSetting | None
    raw_length: float = Field(gt=0)


class LoraSettings(Settings):
    """A LoRA: what `facesmith.models.adapters.lora.add_lora` lays over a generator.

    rank: of the change to each layer; a layer with fewer inputs or outputs gets no more than it has. alpha: the change
    is scaled by alpha / rank; null: by 1. rslora: by alpha / sqrt(rank) instead. dora: length and direction of the
    weights are learnt apart. targets: names, or parts of dotted names, of Linear and Conv2d layers; null: those the
    generator names itself, or every one.
    """

    rank: int = Field(ge=4, le=128)
    alpha: float | None = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    rslora: bool
    dora: bool
    targets: list[str] | None = Field(min_length=1)
