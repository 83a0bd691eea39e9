"""Words for the tiny world: a tokenizer of a few words and a random, fixed UMT5 encoder."""

from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from facesmith.methods.video_lora.toy_wan.dancers import BODIES, STAGES

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


def tokenizer(length: int) -> Any:
    """Give a tokenizer of whole words, `length` tokens at most."""
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


def text_encoder(seed: int) -> Any:
    """Give a random encoder, small and fixed: what it makes of words differs, and that is all that is needed."""
    torch.manual_seed(seed)
    config = UMT5Config(vocab_size=64, d_model=WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    encoder: Any = UMT5EncoderModel(config)
    return encoder.eval().requires_grad_(False)
