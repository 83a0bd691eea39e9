"""Random changes of a training batch, on the batch's device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_PICTURES = ("target", "truth")
_PLANES = ("hull", "alpha")


class Augment:
    """Move a batch at random, all of it alike, and change its light; then change the targets alone a little.

    size: px of the pictures given back; the batch's size must be a multiple of it. degrees, scale (natural
    log), shift (halves of the side) and elastic (halves of the side, spread of a 5x5 field) move pictures,
    masks and canonical places together. colour: strength of gain, contrast and brightness changes; grey:
    share of pictures without colour; relight: strength of a smooth light that falls on target and truth.
    camera: strength of blur, sharpening and noise on targets only: what a camera adds is not to be learnt.
    Uses torch's global random state of the batch's device.
    """

    def __init__(
        self,
        *,
        size: int,
        degrees: float,
        scale: float,
        shift: float,
        elastic: float,
        colour: float,
        grey: float,
        relight: float,
        camera: float,
    ) -> None:
        self.size, self.degrees, self.scale, self.shift = size, degrees, scale, shift
        self.elastic, self.colour, self.grey = elastic, colour, grey
        self.relight, self.camera = relight, camera

    @torch.no_grad()
    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give a new batch: pictures -1..1, planes 0..1 and canonical places at `size`; the rest as it is.

        Raises ValueError when the batch's size is no multiple of `size`.
        """
        names = [name for name in (*_PICTURES, *_PLANES, "canonical") if name in batch]
        stack = torch.cat([batch[name] for name in names], 1)
        given = int(stack.shape[-1])
        if given % self.size:
            raise ValueError(f"augmentation to {self.size} px needs a multiple of it, got {given} px")
        if given != self.size:
            stack = F.avg_pool2d(stack, given // self.size)
        moved = F.grid_sample(stack, self._grid(stack), padding_mode="reflection", align_corners=False)
        parts = torch.split(moved, [int(batch[name].shape[1]) for name in names], 1)
        out = batch | dict(zip(names, parts, strict=True))
        out["target"], out["truth"] = self._recolour(out["target"], out["truth"])
        out["target"] = self._camera(out["target"])
        return out

    def _grid(self, stack: Tensor) -> Tensor:
        n, device = len(stack), stack.device
        angle = _spread(math.radians(self.degrees), n, device=device)
        size = _spread(self.scale, n, device=device).exp()
        rows = [size * angle.cos(), -size * angle.sin(), size * angle.sin(), size * angle.cos()]
        shift = _spread(self.shift, n, 2, 1, device=device)
        matrix = torch.cat([torch.stack(rows, 1).view(n, 2, 2), shift], 2)
        grid = F.affine_grid(matrix, [n, 1, self.size, self.size], align_corners=False)
        field = torch.randn(n, 2, 5, 5, device=device) * self.elastic
        field = F.interpolate(field, size=(self.size, self.size), mode="bicubic", align_corners=True)
        return (grid + field.permute(0, 2, 3, 1)).to(stack.dtype)

    def _recolour(self, target: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        n, device, k = len(target), target.device, self.colour
        gain = (1 + _spread(0.2 * k, n, 1, 1, 1, device=device)) * (1 + _spread(0.1 * k, n, 3, 1, 1, device=device))
        contrast = 1 + _spread(0.2 * k, n, 1, 1, 1, device=device)
        brightness = _spread(0.1 * k, n, 1, 1, 1, device=device)
        grey = (torch.rand(n, 1, 1, 1, device=device) < self.grey).to(target.dtype)
        light = torch.randn(n, 1, 3, 3, device=device) * self.relight
        light = F.interpolate(light, size=(self.size, self.size), mode="bicubic", align_corners=True).exp()

        def change(picture: Tensor) -> Tensor:
            lit = (((picture + 1) * gain * light - 1) * contrast + brightness).clamp(-1, 1)
            return torch.lerp(lit, lit.mean(1, keepdim=True), grey)

        return change(target), change(truth)

    def _camera(self, target: Tensor) -> Tensor:
        n, device = len(target), target.device
        soft = F.avg_pool2d(F.pad(target, (1,) * 4, mode="replicate"), 3, stride=1)
        amount = _spread(self.camera, n, 1, 1, 1, device=device)  # above 0 blurs, below 0 sharpens
        noise = torch.randn_like(target) * torch.rand(n, 1, 1, 1, device=device) * (0.06 * self.camera)
        return (target + amount * (soft - target) + noise).clamp(-1, 1)


def _spread(limit: float, *shape: int, device: torch.device) -> Tensor:
    return (torch.rand(*shape, device=device) * 2 - 1) * limit
