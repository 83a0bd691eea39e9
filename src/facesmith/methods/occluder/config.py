"""Settings of the occluder."""

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from facesmith.config.file_settings import CheckpointFile
from facesmith.config.settings import (
    Chosen,
    LossConfig,
    ModuleConfig,
    PathSetting,
    Settings,
    SourceSetting,
    WholeComponent,
)
from facesmith.faces.face_set.config import ExtractionConfig
from facesmith.training.config import OptimizerConfig

Family = Literal[
    "hand",
    "held",
    "food",
    "cloth",
    "hair",
    "glasses",
    "sunglasses",
    "microphone",
    "shape",
    "limb",
    "head",
    "foliage",
    "instrument",
]

_GROUPED: Final = ("mask_iou", "occluded_recall", "occluded_precision")


class OcclusionsConfig(Settings):
    """Synthetic occlusions of training faces."""

    families: dict[Family, float]
    """How often each family is drawn; those of weight 0 are never trained on, but always validated."""
    unoccluded: float = Field(ge=0, le=1)
    """Share of faces that are left alone."""
    second_occluder: float = Field(ge=0, le=1)
    """Share of covered faces that a second thing covers too."""
    motion_blur: float = Field(ge=0, le=1)
    """Share of things with motion blur."""
    defocus: float = Field(ge=0, le=1)
    """Share of things that are out of focus."""

    @field_validator("families")
    @classmethod
    def _require_a_weight(cls, families: dict[Family, float]) -> dict[Family, float]:
        if min(families.values(), default=0) < 0 or sum(families.values()) <= 0:
            raise ValueError("weights must not be negative, and one at least must be above 0")
        return families


class VariationsConfig(Settings):
    """New faces made of the training faces, which they then stand for, see `FaceVariations`."""

    count: int = Field(ge=1, le=100_000)
    """How many; each takes some 80 kB of memory at 128 px, and a tenth of a second to make."""
    exchange: float = Field(ge=0, le=1)
    """Share that wear another person's face."""


def _rising(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the smallest comes first: [{pair[1]}, {pair[0]}]")
    return pair


class AugmentMasksConfig(WholeComponent):
    """Settings of `AugmentMasks`."""

    degrees: float = Field(ge=0, le=180)
    """Largest rotation, in degrees."""
    scale: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2), AfterValidator(_rising)]
    """Smallest and largest factor, drawn for width and height separately: one face becomes long ones and wide ones."""
    shear: float = Field(ge=0, lt=45)
    """Largest shear, in degrees."""
    shift: float = Field(ge=0, lt=1)
    """Largest shift, as a share of the side."""
    misplaced: float = Field(ge=0, lt=0.2)
    """Standard deviation of the error that landmarks get, as a share of the side: what covers a face misleads them."""
    brightness: float = Field(ge=0, lt=1)
    """Largest relative change."""
    contrast: float = Field(ge=0, lt=1)
    """Largest relative change."""
    saturation: float = Field(ge=0, le=1)
    """Largest relative change."""
    hue: float = Field(ge=0, le=0.5)
    """Largest change, as a share of the colour circle."""
    gamma: float = Field(ge=1)
    """Largest exponent, and inverse of the smallest."""
    grey: float = Field(ge=0, le=1)
    """Probability of greyscale."""
    sharpen: float = Field(ge=0, le=1)
    """Probability of sharpening."""
    blur: float = Field(ge=0, le=1)
    """Probability of blur."""
    noise: float = Field(ge=0, le=1)
    """Probability of noise."""
    jpeg: float = Field(ge=0, le=1)
    """Probability of JPEG artefacts."""


class OccluderDataModuleConfig(ExtractionConfig):
    """Settings of `OccluderDataModule`."""

    source: SourceSetting
    """Photos and videos: a file, a folder, a pattern, or a list of these."""
    masks: PathSetting | None
    """A folder of painted masks, which replace the landmarks' outline."""
    people: Literal["one", "many"]
    """Whether to keep only the person most pictures show, or every face."""
    without_face: Literal["skip", "error"]
    """What to do about a picture without a face."""
    holdout: float = Field(gt=0, lt=1)
    """Share of the faces, the last ones, that are validated on and never trained on."""
    forehead: float = Field(ge=0, le=1)
    """Extension of the outline above the landmarks, as a share of their height above the brows."""
    size: int = Field(ge=32, le=1024, multiple_of=32)
    """Width and height of training pictures, in px."""
    batch_size: int = Field(ge=1)
    """Faces per training step and device."""
    repeats: int = Field(ge=1)
    """Times each face comes in an epoch, covered anew each time."""
    workers: int = Field(ge=0)
    """Processes that draw training pictures; 0 for none beside the training itself."""
    validation_faces: int = Field(ge=1)
    """Held-out faces that are validated under every family."""
    variations: VariationsConfig | None
    """New faces to train on in place of the given ones; None for the given ones."""
    occlusions: OcclusionsConfig
    """What training faces are covered with."""
    augment: Chosen[AugmentMasksConfig] | None
    """Augmentation of training pictures; None for none."""


class OccluderOptimizerConfig(OptimizerConfig):
    """Settings of the optimiser: `lr` is that of all but the encoder."""

    encoder_lr_factor: float = Field(ge=0, le=1)
    """Learning rate of the encoder, as a share of `lr`: pretrained layers need less."""


class MaskLossConfig(LossConfig):
    """Settings of `MaskLoss`."""

    bce: float = Field(ge=0)
    """Weight of the binary cross-entropy."""
    dice: float = Field(ge=0)
    """Weight of the Dice loss."""

    @model_validator(mode="after")
    def _require_a_weight(self) -> "MaskLossConfig":
        if not self.bce + self.dice > 0:
            raise ValueError("bce and dice are both 0: nothing would be learnt")
        return self


class OccluderModuleConfig(ModuleConfig):
    """Settings of `OccluderModule`."""

    architecture: str
    """Name of an architecture of segmentation_models_pytorch."""
    encoder: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")  # never a hub's name or a folder: the value may come from a file
    """Name of an encoder of segmentation_models_pytorch."""
    encoder_weights: str | None
    """Pretrained weights: the library's name of them, a torch file, `asset:<name>`, or None."""
    encoder_depth: int = Field(ge=3, le=5)
    """Number of the encoder's stages that are used, each at half the side of the one before."""
    decoder_channels: Annotated[list[Annotated[int, Field(ge=1, le=2048)]], Field(min_length=1, max_length=8)] | None
    """Channels of as many stages of a U-Net's decoder, coarse to fine; None for the library's default."""
    detail_channels: int = Field(ge=1, le=256)
    """Channels of two more layers at full resolution."""
    forehead: float = Field(ge=0, le=1)
    """Extension of the outline above the landmarks that the network is told, as in the data's labels."""
    export_size: int = Field(ge=32, le=1024, multiple_of=32)
    """Width and height of the exported model's pictures, in px."""
    loss: Chosen[LossConfig]
    """Compares predictions with labels."""
    optimizer: OccluderOptimizerConfig
    """Learning rate and weight decay."""
    init_from: CheckpointFile | None
    """An occluder's checkpoint to start from; None to start anew."""

    def without_pretrained_weights(self) -> "OccluderModuleConfig":
        """Return the same settings, nothing loaded from a file."""
        return self.model_copy(update={"encoder_weights": None, "init_from": None})

    def metric_names(self) -> frozenset[str]:
        """Return the metrics of `MaskMetrics`, and how much masks change between frames."""
        groups = (f"{name}{group}" for name in _GROUPED for group in ("", "_unseen"))
        families = (f"iou_{name}" for name in ("none", *get_args(Family)))
        return frozenset([*groups, *families, "boundary_iou", "false_occlusion", "flicker"])
