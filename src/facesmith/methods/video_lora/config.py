"""Settings of `VideoLoraModule` and `VideoLoraDataModule`, and of the networks that read and measure faces for them."""

from typing import ClassVar, Final, Literal

from pydantic import Field, model_validator

from facesmith.config.consent import ConsentConfig
from facesmith.config.settings import (
    AnalyzerConfig,
    Chosen,
    Component,
    DataModuleConfig,
    EncoderConfig,
    ModuleConfig,
    PathSetting,
    Settings,
    Slug,
    SourceSetting,
)
from facesmith.training.config import Betas, OptimizerConfig

PHOTO_SUFFIXES: Final = ("_photos", "_photos_alone")  # of metrics with reference photos, with tokens and without
VACE_SUFFIX: Final = "_vace_scale_{:g}"  # of metrics where the poses are followed less closely
_VIDEO_METRICS: Final = ("likeness", "projection", "faces_found", "pose_agreement")


class LoraSettings(Settings):
    """The adapter of the transformer."""

    rank: int = Field(ge=1, le=1024)
    """Inner size of each pair of LoRA matrices."""
    alpha: int | None = Field(ge=1)
    """The LoRA is scaled by alpha / rank; None: the rank."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout of the LoRA's input."""
    targets: list[str] = Field(min_length=1)
    """Endings of the names of the linear layers that get a LoRA, such as `to_q`."""
    vace_blocks: bool
    """Whether the branch that follows the poses gets a LoRA too."""


class MapperSettings(Settings):
    """The network that maps a face embedding to tokens."""

    embedding_size: int = Field(ge=1)
    """Numbers of a face embedding, given by the face encoder: 768 for CLIP ViT-L."""
    widths: list[int]
    """Widths of the hidden layers."""
    tokens: int = Field(ge=1, le=256)
    """Face tokens that the transformer sees."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout after each hidden layer."""
    token_norm: float = Field(gt=0)
    """Norm that tokens start with, about that of a row of text."""


class FlowSettings(Settings):
    """The flow-matching loss."""

    shift: float = Field(gt=0)
    """Shift of the noise levels towards more noise, as in the sampler's schedule; 1: none."""
    density: Literal["uniform", "logit_normal"]
    """Distribution of the noise levels before the shift."""
    weighting: Literal["none", "min_snr"]
    """Weight of each noise level."""
    gamma: float = Field(gt=0)
    """Upper bound of the signal-to-noise ratio in `min_snr`."""
    head_weight: float = Field(ge=0)
    """How much more a latent cell that shows the head counts; 0: no more than the rest."""
    token_dropout: float = Field(ge=0, le=1)
    """Share of the person's clips shown without face tokens."""
    photos_alone: float = Field(ge=0, le=1)
    """Share of the person's clips with reference photos that are shown without face tokens."""
    prior_target: Literal["clip", "base"]
    """Target without face tokens: the answer of the frozen base, or the clip itself."""


class VideoLoraOptimizerConfig(OptimizerConfig):
    """Settings of the optimiser: `lr` is that of the LoRA and the face attention."""

    kind: Literal["adamw", "adamw_8bit"]
    """`adamw_8bit` keeps the moments in 8 bits (bitsandbytes, CUDA)."""
    mapper_lr: float = Field(gt=0)
    """Learning rate of the mapper; `lr` is that of the LoRA and the face attention."""
    betas: Betas
    """Decay rates of the moments."""


class ValidationSettings(Settings):
    """Videos and metrics of each validation."""

    quantiles: int = Field(ge=1)
    """Fixed noise levels at which the validation loss is measured."""
    videos: int = Field(ge=0)
    """Clips that are generated."""
    steps: int = Field(ge=1)
    """Sampler steps of a generated clip."""
    cfg_scale: float = Field(ge=1)
    """Classifier-free guidance scale; 1: none."""
    face_scales: list[float] = Field(min_length=1)
    """Scales of the face tokens, one generated video each."""
    vace_scale: float | None = Field(gt=0, lt=1)
    """How closely one more video follows the poses, for strong control weakens the likeness; None: no such video."""
    references: int = Field(ge=0, le=4)
    """Reference photos of two more videos, one with face tokens and one with photos alone; 0: no such videos."""
    seed: int = Field(ge=0)
    """Seed of the initial noise."""


class VideoLoraModuleConfig(ModuleConfig):
    """Settings of `VideoLoraModule`."""

    base: str
    """Wan-VACE pipeline in diffusers' format: a folder, a hub id, or `asset:<name>`."""
    base_dtype: Literal["auto", "float32", "bfloat16", "float16"]
    """Type that the base computes in; auto: bfloat16 on a GPU that has it, else float32."""
    base_storage: Literal["as_computed", "float8", "int8", "nf4"]
    """Type that the frozen weights are stored in."""
    offload: Literal["none", "activations"]
    """activations: activations for the backward pass are moved to CPU memory."""
    gradient_checkpointing: bool
    """Recompute each block in the backward pass: less memory, about a third more time."""
    stream_blocks: bool
    """Frozen weights of the blocks wait in CPU memory; two blocks' are on the GPU at a time."""
    compile: bool
    """Compile the blocks with torch.compile: minutes before the first step, faster steps on a GPU."""
    attention: Literal["auto", "cudnn", "flash", "efficient", "math"]
    """Kernel of torch's scaled dot product attention; auto: torch chooses."""
    pose_branch_gradients: bool
    """Whether gradients reach the face tokens through the frozen branch that follows the poses, too."""
    gate_tokens: bool
    """Whether the face appears with its tokens alone; false: a LoRA that needs no tokens, for other programs."""
    injection: Literal["tail", "decoupled"]
    """Face tokens after the words (tail), or a cross-attention of their own in every block (decoupled)."""
    lora: LoraSettings
    """The adapter of the transformer."""
    mapper: MapperSettings
    """The network that maps a face embedding to tokens."""
    loss: FlowSettings
    """The flow-matching loss."""
    optimizer: VideoLoraOptimizerConfig
    """AdamW and its learning rates."""
    validation: ValidationSettings
    """Videos and metrics of each validation."""

    @model_validator(mode="after")
    def _check_streaming(self) -> "VideoLoraModuleConfig":
        if self.stream_blocks and not self.gradient_checkpointing:
            raise ValueError(
                "stream_blocks=true: needs gradient_checkpointing=true, or the backward pass keeps all blocks"
            )
        if self.stream_blocks and self.base_storage in ("int8", "nf4"):
            kind = self.base_storage
            raise ValueError(
                f"stream_blocks=true: cannot move weights of base_storage={kind}; use float8 or as_computed"
            )
        if not self.gate_tokens and self.injection == "decoupled":
            raise ValueError("gate_tokens=false: has no face tokens to attend to; use injection=tail")
        return self

    @property
    def face_scales(self) -> list[float]:
        """Scales of the face tokens at which validation generates: one where there are no tokens."""
        return self.validation.face_scales if self.gate_tokens else [1.0]

    def metric_names(self) -> frozenset[str]:
        """Return the losses, and the figures of generated clips at each face scale."""
        scales = ("" if scale == 1 else f"_face_scale_{scale:g}" for scale in self.face_scales)
        poses = () if self.validation.vace_scale is None else (VACE_SUFFIX.format(self.validation.vace_scale),)
        photos = PHOTO_SUFFIXES if self.validation.references else ()
        videos = [f"{name}{suffix}" for suffix in (*scales, *poses, *photos) for name in _VIDEO_METRICS]
        losses = ["loss", *(f"loss_q{number}" for number in range(self.validation.quantiles))]
        return frozenset([*losses, "flicker", *videos] if self.validation.videos else losses)


class PriorConfig(Settings):
    """Clips generated by the base alone, trained on without face tokens (prior preservation)."""

    clips: int = Field(ge=1)
    """How many are generated."""
    share: float = Field(gt=0, lt=1)
    """Share of the training samples."""
    steps: int = Field(ge=1)
    """Sampler steps."""
    cfg_scale: float = Field(ge=1)
    """Classifier-free guidance scale; 1: none."""


class ReferencesConfig(Settings):
    """Photos of the person in front of clips, as VACE takes them."""

    most: int = Field(ge=1, le=4)
    """Photos of a clip at most."""
    share: float = Field(gt=0, le=1)
    """Share of the batches that have photos; their number is drawn evenly from 1 to `most`."""


class FaceEncoderConfig(Component):
    """Settings of what turns photos into face embeddings."""


class EvaluatorConfig(Component):
    """Settings of what measures generated videos."""


class VideoLoraDataModuleConfig(DataModuleConfig, ConsentConfig):
    """Settings of `VideoLoraDataModule`."""

    name: Slug
    """Name of the identity: lower-case letters, digits, - and _."""
    base: str
    """Wan-VACE pipeline whose VAE, text encoder and transformer encode the data; that of the model."""
    faces: SourceSetting | dict[Slug, SourceSetting]
    """Photos of the person (a folder, a pattern, or files), or of several people by name."""
    videos: PathSetting
    """Folder of dance videos, each with an optional prompt in a .txt file of the same name."""
    poses: PathSetting | None
    """Folder of pose videos, `<name>_pose.mp4`; None: that of the dances."""
    make_poses: bool
    """Whether missing pose videos are drawn from the dances."""
    pose_style: Literal["openpose", "dwpose", "limbs"]
    """How missing poses are drawn: openpose as VACE was trained on them, dwpose with the colours that ControlNets know,
    limbs with feet and without a head."""
    min_limbs: int = Field(ge=1, le=12)
    """Limbs, without the head's, that a third of a dance's frames must show, or no pose video is drawn."""
    unpaired: Literal["leave_out", "refuse"]
    """Whether dances and poses without a partner are skipped or an error."""
    prompt: str
    """Prompt of the dances that have none of their own."""
    negative_prompt: str
    """Negative prompt of generated clips."""
    trigger: str | None
    """Word or words in front of every prompt of the person, generation's default included; None: none."""
    caption_dropout: float = Field(ge=0, lt=1)
    """Share of the samples that see an empty prompt."""
    photos_share: float = Field(ge=0, lt=1)
    """Share of the batches that are photos of the person, as videos of one frame; 0: none."""
    photo_prompt: str
    """Prompt of the photos that have none of their own in a .txt file of the same name."""
    num_frames: int = Field(ge=1)
    """Frames of a clip: one more than a multiple of 4."""
    min_frames: int = Field(ge=1)
    """Frames of the shortest clip: one more than a multiple of 4."""
    stride: int | None = Field(ge=1)
    """Frames from one clip's start to the next one's; None: `num_frames`."""
    height: int = Field(ge=16)
    """Height of a clip in px."""
    width: int = Field(ge=16)
    """Width of a clip in px."""
    other_shapes: bool
    """Whether upright and square videos become upright and square clips."""
    fps: float | None = Field(gt=0)
    """Frames per second of the clips; None: those of the videos."""
    holdout: float | list[str]
    """Share of the videos kept for validation, or their names without endings."""
    validation_clips: int = Field(ge=1)
    """Clips of the held-out videos that are validated on."""
    batch_size: int = Field(ge=1)
    """Clips of a batch."""
    repeats: int = Field(ge=1)
    """How often an epoch shows each clip."""
    workers: int = Field(ge=0)
    """Processes that load batches; 0: the main process."""
    single_face: float = Field(ge=0, le=1)
    """Share of the samples that see one photo's embedding instead of the person's mean."""
    text_length: int = Field(ge=2, le=4096)
    """Rows of an encoded prompt, face tokens included."""
    face_tokens: int = Field(ge=1, le=256)
    """Rows of the prompt that are kept free for face tokens; those of the mapper."""
    prior: PriorConfig | None
    """Clips of the base itself; None: no prior preservation."""
    references: ReferencesConfig | None
    """Photos of the person in front of clips; None: none, as in earlier versions."""
    face_encoder: Chosen[FaceEncoderConfig]
    """Turns photos into face embeddings."""
    evaluator: Chosen[EvaluatorConfig]
    """Finds heads in clips and measures generated videos."""
    cache: PathSetting
    """Folder of encoded clips, prompts and faces, shared by all runs."""
    table: PathSetting
    """CSV file that lists the clips and what was skipped."""
    progress: bool
    """Whether progress bars are shown."""

    written: ClassVar[tuple[str, ...]] = ()
    """Keys of media that are written before they are read."""

    def check_sources(self) -> None:
        """Refuse a `holdout` that names no video."""
        if isinstance(self.holdout, float) or "videos" in self.written:
            return
        from facesmith.methods.video_lora.clips import list_dances, require_known

        require_known(self.holdout, list_dances(self.videos))

    @model_validator(mode="after")
    def _check_lengths(self) -> "VideoLoraDataModuleConfig":
        for key in ("num_frames", "min_frames"):
            frames = getattr(self, key)
            if frames % 4 != 1:
                raise ValueError(
                    f"{key}={frames}: must be one more than a multiple of 4, such as {frames // 4 * 4 + 1}"
                )
        if self.min_frames > self.num_frames:
            raise ValueError(f"min_frames={self.min_frames}: must not be above num_frames={self.num_frames}")
        if isinstance(self.holdout, float) and not 0 <= self.holdout < 1:
            raise ValueError(f"holdout={self.holdout}: must be at least 0 and below 1, or a list of videos' names")
        if self.face_tokens >= self.text_length:
            raise ValueError(f"face_tokens={self.face_tokens}: must leave room for words in text_length")
        return self


class AlignedFaceEncoderConfig(FaceEncoderConfig):
    """Settings of `AlignedFaceEncoder`."""

    backbone: Chosen[EncoderConfig] | None
    """Encoder of aligned faces; None: the recogniser of the analyzer."""
    analyzer: Chosen[AnalyzerConfig]
    """Finds and recognises faces."""
    min_similarity: float = Field(ge=-1, le=1)
    """Cosine similarity to the other photos below which a photo shows somebody else."""


class FaceEvaluatorConfig(EvaluatorConfig):
    """Settings of `FaceEvaluator`."""

    analyzer: Chosen[AnalyzerConfig]
    """Finds and recognises faces."""
    every: int = Field(ge=1)
    """Frames from one detection to the next."""
