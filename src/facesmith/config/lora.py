"""Settings of adapters."""

from pydantic import Field

from facesmith.config.settings import Settings


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
