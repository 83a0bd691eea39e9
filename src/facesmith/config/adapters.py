"""Settings of whatever lays adapters on a model, and of a swapper that is only a file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting, Settings

Weight = Annotated[float, Field(ge=-2, le=2)]


class AdapterChoiceSettings(Settings):
    """Which adapters: see `facesmith.models.adapters.choice.choose`."""

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
