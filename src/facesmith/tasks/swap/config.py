"""Settings of the swap task."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from facesmith.config.adapters import AdapterSettings, SwapperFileSettings
from facesmith.config.consent import ConsentKind
from facesmith.config.file_settings import AnyFile, OnnxFile, ProfileFile, SwapperFile
from facesmith.config.settings import PathSetting, SourceSetting, WholeTaskConfig, require_keys
from facesmith.media.encoders import CONTAINERS, Codec, EncoderChoice
from facesmith.tasks.swap.time_range import Moment, check_moment, check_range, parse_scale

Cosine = Annotated[float, Field(ge=-1, le=1)]
Percent = Annotated[float, Field(ge=0, lt=100)]


class FrameSwapSettings(AdapterSettings, SwapperFileSettings):
    """Settings of one frame's swap, see `frame_swap.FrameSwapper`."""

    source_photo: AnyFile | None
    """A picture of the person, for models that take one."""
    consent: ConsentKind | None
    """Of the person, where neither model nor profile states it."""
    morph: float = Field(ge=0, le=1)
    """How far a .dfm goes, where it takes that: 0 the target, 1 the person."""
    masks: list[Literal["box", "occlusion", "hull", "region"]]
    """A swap shows where all of these masks and the model's own let it."""
    mask_blur: float = Field(ge=0, le=1)
    """Of the box: width of its soft edge, 0..1 of half the crop."""
    mask_padding: list[Percent] = Field(min_length=4, max_length=4)
    """Of the box: top, right, bottom, left in % of the crop."""
    regions: list[Literal["mouth", "eyes", "brows", "nose", "skin", "upper_face", "lower_face"]]
    """Parts of the face that the mask `region` keeps."""
    occluder: OnnxFile | None
    """An xseg .onnx or `asset:<name>`, for the mask `occlusion`; null switches that mask off."""
    blend: Literal["linear", "poisson", "multiband"]
    """How the face is blended into the frame."""
    colour_match: bool
    """Whether to match mean and spread of the skin's colour to the target's."""
    pixel_boost: Literal[256, 512, 1024] | None
    """Side of the crop in px: the model runs once for each tile of its own size; null: the model's own."""
    enhancer: OnnxFile | None
    """A face restoration model, .onnx of 512 px on ffhq_512."""
    enhancer_blend: float = Field(ge=0, le=1)
    """How much of the enhanced face is shown, 0..1."""

    @model_validator(mode="after")
    def _check_masks(self) -> "FrameSwapSettings":
        if "region" in self.masks and not self.regions:
            raise ValueError("masks: region needs regions=[mouth,...]")
        top, right, bottom, left = self.mask_padding
        if "box" in self.masks and (top + bottom >= 100 or left + right >= 100):
            raise ValueError("mask_padding: leaves nothing of the crop")
        return self


class MediaTaskConfig(WholeTaskConfig):
    """Settings of a task that processes the faces of images and videos, one file after the other."""

    selections: ClassVar[tuple[str, ...]] = ("largest", "all")
    """Words that `select` takes."""

    source: SourceSetting
    """An image, a video, a folder, or a list of these."""
    output: PathSetting
    """A file for one source, else a folder."""
    select: str | int
    """Which faces: one of `selections`, or a number from the left, counted from 0."""
    smoothing: float = Field(ge=0, le=2)
    """Seconds of video over which landmarks are smoothed; 0: not at all."""
    smoothing_order: int = Field(ge=0, le=5)
    """Degree of the polynomial that smooths."""
    max_gap: float = Field(ge=0, le=5)
    """Seconds of video that a face may be missing and is bridged over; 0: none."""
    detect_every: int = Field(ge=1, le=32)
    """Frames of video between two detections; in between faces are tracked."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""
    crf: int = Field(ge=0, le=51)
    """Of H.264: 0 lossless to 51."""
    workers: int | None = Field(ge=1)
    """Threads that analyse, and as many that process; null: one per core, 4 at most."""

    def check_sources(self) -> None:
        """Refuse an output that cannot be written of the source."""
        self._check_output()

    def _check_output(self, **more: Any) -> None:
        from facesmith.tasks.swap.outputs import check_output

        check_output(self.source, self.output, **more)

    @field_validator("select")
    @classmethod
    def _check_select(cls, select: str | int) -> str | int:
        if select not in cls.selections and (isinstance(select, str) or select < 0):
            raise ValueError(f"choose one of {', '.join(cls.selections)}, or a number from the left: 0, 1, ...")
        return select


class CastEntry(FrameSwapSettings):
    """One model of a cast and whose faces it replaces; what is left out is as the task has it."""

    personal: ClassVar[tuple[str, ...]] = ("profile", "source_photo", "consent", "adapter", "adapter_weights")
    """Keys that belong to one person or model, which an entry does not take from the task."""

    model: SwapperFile
    """A trained swapper, .onnx, .dfm or .ckpt."""
    target: Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
    """Whose faces: a profile (.json) or a photo, a place from the left counted from 0, or of those that the other
    entries leave the `largest`, or `all`."""
    profile: ProfileFile | None
    """An identity profile, for models that take any identity."""
    select_threshold: Cosine | dict[str, Cosine]
    """Cosine similarity from which on a face is the target's: by embedder, or one for all."""

    def frame_settings(self) -> dict[str, Any]:
        """Return the values of `FrameSwapSettings`, which decide how a frame is swapped."""
        return {name: getattr(self, name) for name in FrameSwapSettings.model_fields}


class SwapTaskConfig(FrameSwapSettings, MediaTaskConfig):
    """Settings of `SwapTask`; `model`, `source` and `output` are top-level keys on the command line."""

    selections: ClassVar[tuple[str, ...]] = ("largest", "all", "reference")

    model: SwapperFile | None = None
    """A trained swapper, .onnx, .dfm or .ckpt; None where there is a cast."""
    cast: list[CastEntry] | None = Field(min_length=1)
    """Several models in one pass, each with its target, or a YAML file that lists them; null: `model` alone."""
    fail_when_unmatched: bool
    """Whether an entry of the cast that matched nobody in any file ends the run with an error, its files written."""
    preview: int | None = Field(ge=1, le=100)
    """Draw a sheet of so many evenly chosen frames and stop; null: write the films."""
    profile: ProfileFile | None
    """An identity profile, for models that take any identity."""
    reference: AnyFile | None
    """Of select=reference: a profile (.json) or a photo of the person whose face is replaced."""
    select_threshold: Cosine | dict[str, Cosine]
    """Cosine similarity from which on a face is the reference's: by embedder, or one for all."""
    fail_when_no_face: bool
    """Whether a file without a face to swap is an error; else it is written as it is."""
    side_by_side: bool
    """Whether the result shows the target on the left and the swap on the right, small ones enlarged."""
    quality: int = Field(ge=1, le=100)
    """Of JPEG, WebP and AVIF images."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
    """Speed of the encoder, in x264's names."""
    codec: Codec
    """Of videos."""
    encoder: EncoderChoice
    """What encodes them: auto is the codec's software encoder; where another cannot be used, that takes its place."""
    suffix: Literal[".mp4", ".mov", ".mkv"] | None
    """Container of the videos of a folder; null: each one's own where that can be written, else the codec's usual."""
    start: Moment | None
    """Of a video: where to begin, as seconds, time, time code or frame (250f); null: at the beginning."""
    end: Moment | None
    """Of a video: where to stop, which itself is left out; null: at the end."""
    scale: float | str | None
    """Size of the result: a factor (0.5), a height (720) or a box (1280x720); null: the source's."""
    deinterlace: bool
    """Whether interlaced videos become progressive; else their fields are kept."""
    segment_seconds: float = Field(gt=0)
    """Seconds of video that are written and kept at a time."""
    resume: bool
    """Go on with what a stopped run left, and keep the files it finished."""

    def check_sources(self) -> None:
        """Refuse an output that cannot be written of the source."""
        self._check_output(suffix=self.suffix, usable=CONTAINERS[self.codec])

    def entries(self) -> list[CastEntry]:
        """Return the cast; that of a single `model` has one entry."""
        if self.cast is not None:
            return self.cast
        own = {name: getattr(self, name) for name in CastEntry.model_fields if name != "target"}
        return [CastEntry(target=self.select if self.reference is None else str(self.reference), **own)]

    @field_validator("start", "end")
    @classmethod
    def _check_moment(cls, moment: Moment | None) -> Moment | None:
        return check_moment(moment)

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: float | str | None) -> float | str | None:
        parse_scale(scale)
        return scale

    @model_validator(mode="after")
    def _check_range(self) -> "SwapTaskConfig":
        check_range(self.start, self.end)
        return self

    @model_validator(mode="after")
    def _check_codec(self) -> "SwapTaskConfig":
        if self.encoder == "x264" and self.codec != "h264":
            raise ValueError(f"encoder=x264: writes h264, not {self.codec}; give encoder=auto, or omit codec")
        if self.suffix is not None and self.suffix not in CONTAINERS[self.codec]:
            usable = " or ".join(CONTAINERS[self.codec])
            raise ValueError(f"suffix={self.suffix}: cannot hold codec={self.codec}; give suffix={usable}")
        return self

    @model_validator(mode="after")
    def _check_reference(self) -> "SwapTaskConfig":
        if self.select == "reference" and self.reference is None:
            raise ValueError("select=reference: needs a reference; give reference=<profile .json or photo>")
        if self.select != "reference" and self.reference is not None:
            raise ValueError(f"reference={self.reference}: is not used by select={self.select}; give select=reference")
        return self

    @model_validator(mode="after")
    def _check_cast(self) -> "SwapTaskConfig":
        if self.cast is None:
            return self
        if self.select != "largest" or self.reference is not None:
            raise ValueError("cast: select and reference are not used; give each entry its target")
        given = [key for key in ("model", *CastEntry.personal) if getattr(self, key) is not None]
        if given:
            raise ValueError(f"cast: {given[0]} belongs to one entry; give it there")
        owners: dict[str, int] = {}
        for number, entry in enumerate(self.cast):
            first = owners.setdefault(str(entry.target), number)
            if first != number:
                raise ValueError(f"cast: entries {first} and {number} both claim target={entry.target}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, config: object) -> object:
        """Require the top-level keys, read a cast from its file, and give its entries what they leave out."""
        if not isinstance(config, dict) or config.get("cast") is None:
            return require_keys(
                config, "swap", model="<.onnx or .ckpt>", source="<image, video or folder>", output="<file or folder>"
            )
        require_keys(config, "swap", source="<image, video or folder>", output="<file or folder>")
        cast = config["cast"]
        entries = _read_cast(cast) if isinstance(cast, str) else cast
        if not isinstance(entries, list):
            return config
        keys = [key for key in CastEntry.model_fields if key not in CastEntry.personal and key in config]
        shared = {key: config[key] for key in keys if key != "model"} | dict.fromkeys(CastEntry.personal)
        whole = [{**shared, **entry} if isinstance(entry, dict) else entry for entry in entries]
        return {**config, "cast": whole}


def _read_cast(file: str) -> list[object]:
    """Return the entries that a YAML file lists.

    Raises:
        ValueError: It cannot be read, or lists none.
    """
    path = Path(file).expanduser()
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cast={file}: cannot be read ({getattr(error, 'strerror', None) or 'no text'})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"cast={file}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(read, list) or not all(isinstance(one, dict) for one in read):
        raise ValueError(f"cast={file}: must be a list of entries, each `- model: ...` and `target: ...`")
    return read
