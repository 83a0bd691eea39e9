"""Random changes of a training batch, on the batch's device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_PICTURES = ("target", "truth")
_MASKS = ("hull", "alpha")


class Augment:
    """Moves a batch at random, pictures, masks and canonical places together, and changes its light.

    Then it changes the targets alone a little: what a camera adds is not to be learnt. Rows whose numbers in "alike" of
    the batch are equal are moved and lit alike, as neighbouring frames must be. Uses torch's global random state of the
    batch's device; processes that share a batch draw for all of it alike and take their own rows, so that a picture is
    changed in the same way however many they are.

    Args:
        size: Side in px of the pictures returned; the batch's must be a multiple of it.
        degrees: Largest rotation.
        scale: Largest change of size, natural log.
        shift: Largest move, in halves of the side.
        elastic: Standard deviation of a 5x5 field of displacements, in halves of the side.
        colour: Strength of changes of gain, contrast and brightness.
        grey: Probability that a pair loses its colour.
        relight: Strength of a smooth light that falls on target and truth.
        camera: Strength of blur, sharpening and noise on targets.
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
    def __call__(self, batch: dict[str, Tensor], process: int = 0, processes: int = 1) -> dict[str, Tensor]:
        """Return a new batch: pictures -1..1, masks 0..1 and canonical places at `size`; the rest as it is.

        Args:
            batch: target and truth (N,3,S,S) -1..1, hull and alpha (N,1,S,S), canonical (N,2,S,S), maybe alike (N,).
            process: Number of this process.
            processes: How many share the batch, of which this one holds every `processes`-th row.

        Raises:
            ValueError: S is no multiple of `size`.
        """
        names = [name for name in (*_PICTURES, *_MASKS, "canonical") if name in batch]
        stack = torch.cat([batch[name] for name in names], 1)
        given = int(stack.shape[-1])
        if given % self.size:
            raise ValueError(f"augmentation to {self.size} px needs a multiple of it, got {given} px")
        if given != self.size:
            stack = F.avg_pool2d(stack, given // self.size)
        draw = _RandomNumbers(len(stack), stack.device, process, processes, batch.get("alike"))
        moved = F.grid_sample(stack, self._grid(stack, draw), padding_mode="reflection", align_corners=False)
        parts = torch.split(moved, [int(batch[name].shape[1]) for name in names], 1)
        out = batch | dict(zip(names, parts, strict=True))
        out["target"], out["truth"] = self._recolour(out["target"], out["truth"], draw)
        out["target"] = self._camera(out["target"], draw.separate())
        return out

    def _grid(self, stack: Tensor, draw: "_RandomNumbers") -> Tensor:
        n = len(stack)
        angle = draw.symmetric(math.radians(self.degrees))
        size = draw.symmetric(self.scale).exp()
        rows = [size * angle.cos(), -size * angle.sin(), size * angle.sin(), size * angle.cos()]
        shift = draw.symmetric(self.shift, 2, 1)
        matrix = torch.cat([torch.stack(rows, 1).view(n, 2, 2), shift], 2)
        grid = F.affine_grid(matrix, [n, 1, self.size, self.size], align_corners=False)
        field = draw.normal(2, 5, 5) * self.elastic
        field = F.interpolate(field, size=(self.size, self.size), mode="bicubic", align_corners=True)
        return (grid + field.permute(0, 2, 3, 1)).to(stack.dtype)

    def _recolour(self, target: Tensor, truth: Tensor, draw: "_RandomNumbers") -> tuple[Tensor, Tensor]:
        k = self.colour
        gain = (1 + draw.symmetric(0.2 * k, 1, 1, 1)) * (1 + draw.symmetric(0.1 * k, 3, 1, 1))
        contrast = 1 + draw.symmetric(0.2 * k, 1, 1, 1)
        brightness = draw.symmetric(0.1 * k, 1, 1, 1)
        grey = (draw.uniform(1, 1, 1) < self.grey).to(target.dtype)
        light = draw.normal(1, 3, 3) * self.relight
        light = F.interpolate(light, size=(self.size, self.size), mode="bicubic", align_corners=True).exp()

        def change(picture: Tensor) -> Tensor:
            lit = (((picture + 1) * gain * light - 1) * contrast + brightness).clamp(-1, 1)
            return torch.lerp(lit, lit.mean(1, keepdim=True), grey)

        return change(target), change(truth)

    def _camera(self, target: Tensor, draw: "_RandomNumbers") -> Tensor:
        soft = F.avg_pool2d(F.pad(target, (1,) * 4, mode="replicate"), 3, stride=1)
        amount = draw.symmetric(self.camera, 1, 1, 1)  # above 0 blurs, below 0 sharpens
        noise = draw.normal(*target.shape[1:]) * draw.uniform(1, 1, 1) * (0.06 * self.camera)
        return (target + amount * (soft - target) + noise).clamp(-1, 1)


class _RandomNumbers:
    """Random numbers for a share of a batch: drawn for the whole of it, this process's rows given.

    alike: (rows,) the row whose numbers each row takes, or None for its own.
    """

    def __init__(
        self, rows: int, device: torch.device, process: int, processes: int, alike: Tensor | None = None
    ) -> None:
        self._rows, self._device, self._process, self._processes = rows * processes, device, process, processes
        self._alike = alike

    def separate(self) -> "_RandomNumbers":
        """Return draws in which every row has its own numbers."""
        return _RandomNumbers(self._rows // self._processes, self._device, self._process, self._processes)

    def uniform(self, *shape: int) -> Tensor:
        return self._own(torch.rand(self._rows, *shape, device=self._device))

    def normal(self, *shape: int) -> Tensor:
        return self._own(torch.randn(self._rows, *shape, device=self._device))

    def symmetric(self, limit: float, *shape: int) -> Tensor:
        return (self.uniform(*shape) * 2 - 1) * limit

    def _own(self, drawn: Tensor) -> Tensor:
        own = drawn[self._process :: self._processes]
        return own if self._alike is None else own[self._alike]
