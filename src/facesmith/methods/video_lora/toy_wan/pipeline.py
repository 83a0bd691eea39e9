"""The toy base: a Wan-VACE pipeline of diffusers, its codec, text encoder and transformer small enough to ship."""

from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanVACEPipeline, WanVACETransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from facesmith.methods.video_lora.latents import vace_control
from facesmith.methods.video_lora.toy_wan.codec import SIDE, TIMES, BlockVideoCodec
from facesmith.methods.video_lora.toy_wan.world import (
    BODIES,
    STAGES,
    Clips,
    Dances,
    describe_clip,
    render_portraits,
    sample_clips,
)

CHANNELS: Final = 24
REFINER: Final = 128  # channels of the codec's net
TEXT_LENGTH: Final = 16
FACE_TOKENS: Final = 4
SHIFT: Final = 3.0
STEPS: Final = 8  # of the sampler
_TEXT_SEED: Final = 0
WIDTH: Final = 64
_WORDS: Final = (
    "a",
    "an",
    "the",
    "person",
    "man",
    "woman",
    "dancing",
    "dance",
    "dancer",
    "on",
    "in",
    "of",
    "stage",
    "studio",
    "face",
    "blurry",
    "distorted",
)


def fit_codec(whitening: float, seed: int, clips_fitted: int = 400) -> BlockVideoCodec:
    """Fit the codec to clips and to a third as many pose drawings; its refiner is untrained.

    Args:
        whitening: Of `BlockVideoCodec.fit`.
        seed: Of the clips.
        clips_fitted: How many.
    """
    some = sample_clips(clips_fitted, torch.Generator().manual_seed(seed))
    poses = some.dances.poses[: clips_fitted // 3] * 2 - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BlockVideoCodec.fit([some.videos, poses], CHANNELS, whitening, REFINER)


def build_pipeline(codec: BlockVideoCodec) -> Any:
    """Build the pipeline around a codec, its transformer of 2.7 million parameters untrained."""
    transformer = WanVACETransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=6,
        attention_head_dim=24,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=WIDTH,
        freq_dim=64,
        ffn_dim=432,
        num_layers=6,
        vace_layers=[0, 3],
        vace_in_channels=2 * CHANNELS + SIDE * SIDE,
        rope_max_seq_len=64,
    )
    return WanVACEPipeline(
        tokenizer=build_tokenizer(TEXT_LENGTH),
        text_encoder=build_text_encoder(_TEXT_SEED),
        vae=codec,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
    )


class TransformerInputs:
    """Turns clips into what the transformer sees: latents, control, text; and head weights for the loss.

    Args:
        pipe: Of `build_pipeline`.
    """

    def __init__(self, pipe: Any) -> None:
        self.codec: BlockVideoCodec = pipe.vae
        self.spread = self.codec.spread
        self.blank = self.latents(torch.zeros(1, 3, 1 + 2 * TIMES, 64, 64))
        with torch.no_grad():
            written = [describe_clip(stage, body) for stage in range(len(STAGES)) for body in range(len(BODIES))]
            self.text = pipe.encode_prompt(written, None, False, max_sequence_length=TEXT_LENGTH)[0]
            self.empty = pipe.encode_prompt("", None, False, max_sequence_length=TEXT_LENGTH)[0]

    def latents(self, videos: Tensor) -> Tensor:
        """Encode videos (N,3,T,S,S) into latents of unit scale."""
        found: Tensor = self.codec.encode(videos).latent_dist.mode() / self.spread
        return found

    def videos(self, latents: Tensor) -> Tensor:
        """Decode latents of unit scale into videos (N,3,T,S,S)."""
        shown: Tensor = self.codec.decode(latents * self.spread).sample
        return shown

    def control(self, poses: Tensor, references: Tensor | None = None) -> Tensor:
        """Return VACE's control: nothing of the video is kept, all is generated.

        Args:
            poses: (N,3,T,S,S) pose drawings in 0..1.
            references: (N,C,R,h,w) latents of photos; None: no photos.
        """
        return vace_control(self.latents(poses * 2 - 1), self.blank, SIDE, references)

    def photos(self, who: Tensor, count: int, random: torch.Generator) -> Tensor:
        """Return latents (N,C,R,h,w) of R photos of each person.

        Args:
            who: (N,3,3) people.
            count: R, how many of each.
            random: Moves each a little.
        """
        pictures = [render_portraits(who, random)[:, :, None] * 2 - 1 for _ in range(count)]
        return torch.cat([self.latents(picture) for picture in pictures], 2)

    def texts(self, some: Clips, empty: Tensor) -> Tensor:
        """Return the encoded prompts.

        Args:
            some: N clips.
            empty: (N,), where the prompt is empty.

        Returns:
            (N,L,W).
        """
        found = self.text[some.stages * len(BODIES) + some.bodies]
        return torch.where(empty.view(-1, 1, 1), self.empty, found)

    def heads(self, motions: Dances) -> Tensor:
        """Return how much of each latent cell is head, (N,1,F,h,w)."""
        cover = functional.avg_pool2d(motions.layers[:, :4].sum(1), SIDE)
        count, frames, rows, columns = cover.shape
        later = cover[:, 1:].view(count, (frames - 1) // TIMES, TIMES, rows, columns).mean(2)
        return torch.cat([cover[:, :1], later], 1)[:, None]


def build_tokenizer(length: int) -> Any:
    """Build a tokenizer of whole words, for `length` tokens at most."""
    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys([*_WORDS, *STAGES, *BODIES])]
    model = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    model.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    make: Any = PreTrainedTokenizerFast  # untyped in some releases
    return make(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    )


def build_text_encoder(seed: int) -> Any:
    """Build a small encoder with random weights: it need only encode different words differently."""
    torch.manual_seed(seed)
    config = UMT5Config(vocab_size=64, d_model=WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    encoder: Any = UMT5EncoderModel(config)
    return encoder.eval().requires_grad_(False)
