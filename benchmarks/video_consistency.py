"""How alike a video's frames are, by DINO and by CLIP: VBench's subject and background consistency.

Written anew after the formulas of VBench 0.1.5 (Huang et al., 2024), pictures shrunk as there, without antialiasing.
CASIA FaceSwapping takes them for its videos. Weights are the user's and are read as tensors alone:
`dino_vitbase16_pretrain.pth`, and CLIP as Hugging Face has it (`openai/clip-vit-base-patch32`), since the original file
is a program.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import InterpolationMode, center_crop, resize
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Pixels = NDArray[np.uint8]

_SIDE: Final = 224
_GRID: Final = 14  # patches along a side, of the weights
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OF_CLIP: Final = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
CLIP_PARTS: Final = ("vision_model.", "visual_projection.")


class FrameNetwork(Protocol):
    """Describes frames."""

    def describe(self, frame: Pixels) -> Tensor:
        """Compute the features (F,) of a frame (H,W,3) RGB."""
        ...


class Dino(nn.Module):
    """DINO's ViT-B/16. Source: Caron et al., 2021.

    Args:
        depth: Blocks; those of the published weights are 12.
    """

    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        made = timm.create_model("vit_base_patch16_224", num_classes=0, global_pool="token", depth=depth)
        for name, part in made.named_children():
            self.add_module(name, part)
        self.cls_token, self.pos_embed = made.cls_token, made.pos_embed

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute (N,768) of pictures (N,3,H,W), normalised as ImageNet's; places are interpolated as DINO does."""
        maps = self.patch_embed.proj(pictures)
        rows, columns = maps.shape[2:]
        places = self.pos_embed[:, 1:].unflatten(1, (_GRID, _GRID)).permute(0, 3, 1, 2)
        if (rows, columns) != (_GRID, _GRID):
            scale = ((rows + 0.1) / _GRID, (columns + 0.1) / _GRID)
            places = functional.interpolate(places, scale_factor=scale, mode="bicubic")
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(pictures), -1, -1)
        x = torch.cat([first, (maps + places).flatten(2).transpose(1, 2)], 1)
        return torch.as_tensor(self.norm(self.blocks(x))[:, 0])

    @torch.inference_mode()
    def describe(self, frame: Pixels) -> Tensor:
        """Compute (768,) of a frame (H,W,3) RGB, its shorter side brought to 224 px."""
        small = resize(_to_tensor(frame), [_SIDE], antialias=False)
        return self(_normalise(small / 255, *_IMAGENET)[None])[0]


class Clip(nn.Module):
    """CLIP's ViT-B/32. Source: Radford et al., 2021.

    Args:
        depth: Blocks; those of the published weights are 12.
    """

    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        made = CLIPVisionModelWithProjection(CLIPVisionConfig(num_hidden_layers=depth, projection_dim=512))
        self.vision_model, self.visual_projection = made.vision_model, made.visual_projection

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute (N,512) of pictures (N,3,224,224), normalised as CLIP's."""
        return torch.as_tensor(self.visual_projection(self.vision_model(pixel_values=pictures).pooler_output))

    @torch.inference_mode()
    def describe(self, frame: Pixels) -> Tensor:
        """Compute (512,) of the middle square of a frame (H,W,3) RGB."""
        small = resize(_to_tensor(frame), [_SIDE], InterpolationMode.BICUBIC, antialias=False)
        return self(_normalise(center_crop(small, [_SIDE, _SIDE]) / 255, *_OF_CLIP)[None])[0]


def consistency(frames: Iterable[Pixels], networks: dict[str, FrameNetwork]) -> dict[str, float]:
    """Compute how alike a video's frames are: mean cosine to the frame before and to the first, those below 0 as 0.

    Args:
        frames: (H,W,3) RGB each, in order.
        networks: Describe a frame, by the figure's name.

    Returns:
        By name, 0..1; nan for fewer than two frames.
    """
    first: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    found: dict[str, list[float]] = {name: [] for name in networks}
    for frame in frames:
        for name, network in networks.items():
            now = functional.normalize(network.describe(frame), dim=0)
            if name in first:
                found[name].append(sum(max(0.0, float(now @ was[name])) for was in (last, first)) / 2)
            else:
                first[name] = now
            last[name] = now
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}


def _to_tensor(frame: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float()


def _normalise(picture: Tensor, mean: tuple[float, ...], spread: tuple[float, ...]) -> Tensor:
    return (picture - torch.tensor(mean)[:, None, None]) / torch.tensor(spread)[:, None, None]
