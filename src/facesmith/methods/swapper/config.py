"""Settings of the swapper."""

from collections.abc import Collection
from pathlib import Path

from pydantic import Field, model_validator

from facesmith.config.file_settings import CheckpointFile
from facesmith.config.settings import Chosen, GeneratorConfig, LossConfig, PathSetting, SourceSetting, WholeComponent
from facesmith.errors import UserError
from facesmith.training.swapping.config import SwapDataConfig, SwapModuleConfig


class _DataConfig(SwapDataConfig):
    holdout: float | list[str]
    """Share of the targets (of the people) to hold out, 0..1, or their names: file stems, or folders of people."""
    holdout_frames: float = Field(ge=0, lt=1)
    """Last share of a person's own frames to hold out."""
    train_size: int = Field(ge=32)
    """Side in px of what is trained on."""
    size: int = Field(ge=32, le=1024)
    """Side of the crops in px, at which is validated."""

    @model_validator(mode="after")
    def _bounds(self) -> "_DataConfig":
        if isinstance(self.holdout, float) and not 0 <= self.holdout < 1:
            raise ValueError(f"holdout={self.holdout}: must be at least 0 and below 1, or a list of file stems")
        if self.train_size > self.size:
            raise ValueError(f"train_size={self.train_size}: must not be above size={self.size}")
        return self

    def check_holdout(self, names: Collection[str], what: str) -> None:
        """Refuse a `holdout` that names what does not exist.

        Args:
            names: That can be held out.
            what: They are called in the message: file, folder.

        Raises:
            UserError: A name is unknown.
        """
        unknown = [] if isinstance(self.holdout, float) else sorted(set(self.holdout) - set(names))
        if unknown:
            known = ", ".join(sorted(set(names))[:12])
            raise UserError(f"data.holdout: no {what} is called {', '.join(unknown)}; there are {known}")


class SwapperDataModuleConfig(_DataConfig):
    """Settings of `SwapperDataModule`: one person, and maybe scenes to put that person into."""

    source: SourceSetting
    """Photos and videos of the person."""
    targets: SourceSetting | None
    """Photos and videos of scenes to learn besides; None: the person's own frames are enough."""

    @model_validator(mode="after")
    def _names_targets(self) -> "SwapperDataModuleConfig":
        if isinstance(self.holdout, list) and self.targets is None:
            raise ValueError(f"holdout=[{','.join(self.holdout)}]: names targets, but data.targets is not given")
        return self

    def check_sources(self) -> None:
        """Refuse a `holdout` that names no target, or leaves none."""
        if isinstance(self.holdout, float) or self.targets is None:
            return
        from facesmith.media.sources import list_stems

        names = list_stems(self.targets)
        self.check_holdout(names, "target")
        if set(names) <= set(self.holdout):
            raise UserError("data.holdout: holds out every target; leave at least one to train on")


class PretrainDataModuleConfig(_DataConfig):
    """Settings of `PretrainDataModule`: a folder of people, one subfolder each."""

    source: PathSetting
    """The folder of people."""
    targets: SourceSetting | None
    """More scenes; None: each person's faces serve as scenes for the others."""
    scenes_per_person: int = Field(ge=1)
    """Faces of others that each person is put into."""

    def people(self) -> list[Path]:
        """Return the folder of each person.

        Raises:
            UserError: There are fewer than two.
        """
        folders = sorted(path for path in self.source.iterdir() if path.is_dir()) if self.source.is_dir() else []
        if len(folders) < 2:
            raise UserError(f"data.source={self.source}: must be a folder with a subfolder for each of several people")
        return folders

    def held_out(self) -> list[str]:
        """Return the names of the people that are never trained on.

        Raises:
            UserError: `holdout` names nobody, or leaves fewer than two people.
        """
        names = [folder.name for folder in self.people()]
        if isinstance(self.holdout, float):
            return names[len(names) - min(len(names) - 2, round(self.holdout * len(names))) :] if self.holdout else []
        self.check_holdout(names, "folder")
        if len(names) - len(set(self.holdout)) < 2:
            raise UserError(
                f"data.holdout: leaves fewer than two people to train on; there are {', '.join(names[:12])}"
            )
        return self.holdout

    def check_sources(self) -> None:
        """Refuse a folder of fewer than two people, and a `holdout` that names nobody or leaves fewer."""
        self.held_out()


class SwapperModuleConfig(SwapModuleConfig):
    """Settings of `SwapperModule`."""

    generator: Chosen[GeneratorConfig]
    """The network, see `facesmith.models.swapper`."""
    loss: Chosen[LossConfig]
    """What it learns by; which one suits depends on the generator."""
    init_from: CheckpointFile | None
    """Checkpoint whose generator to start from; None: from scratch."""
    train_size: int = Field(ge=32)
    """Side in px of what is trained on."""
    compile: bool
    """Whether to run torch.compile: minutes at the start, faster steps on a GPU."""


class AadLossConfig(WholeComponent, LossConfig):
    """Settings of `AadLoss`."""

    l1: float = Field(ge=0)
    """Weight of the mean absolute difference of pixels."""
    ssim: float = Field(ge=0)
    """Weight of half of 1 - SSIM."""
    mask: float = Field(ge=0)
    """Weight of the mask's binary cross-entropy against the hull."""
    background: float = Field(ge=0, le=1)
    """Weight of pixels outside the hull in `l1` and `ssim`; inside they have 1."""
    identity: float = Field(ge=0)
    """Weight of 1 - cosine of the composite's embedding to the source."""
    identity_from: float = Field(ge=0, le=1)
    """Share of the training after which the identity loss ramps in."""
    identity_share: float = Field(gt=0, le=1)
    """Part of each batch that the recogniser sees: it costs as much as the generator."""
    embedder: str
    """Recogniser of the identity loss; must be the analyzer's."""
    adversarial: float = Field(ge=0)
    """Weight of the patch-hinge loss; 0 builds no discriminator."""
    adversarial_from: float = Field(ge=0, le=1)
    """Share of the training after which it ramps in."""
    matching: float = Field(ge=0)
    """Weight of feature matching, times `adversarial`."""
    discriminator_channels: int = Field(ge=4, le=512)
    """Width of the discriminator."""
    ramp: float = Field(ge=0, le=1)
    """Share of the training over which a loss ramps in."""


class MeshWarpLossConfig(LossConfig):
    """Settings of `MeshWarpLoss`."""

    cells: int = Field(ge=2, le=64)
    """Cells along a side whose mean colours are compared."""
    trust: float = Field(gt=0, le=1)
    """Share of the error in light that is to be corrected: all of it copies the target."""
