"""How good a mask is: overlap, rim, and the covered part of the face above all."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import BinaryJaccardIndex, BinaryPrecision, BinaryRecall

from facesmith.methods.occluder.dataset import NAMES
from facesmith.methods.occluder.occlusion import NONE

_RIM = 0.02  # of the picture's diagonal: Cheng et al. 2021, Boundary IoU
_ELSEWHERE = -1


class MaskMetrics(nn.Module):
    """Figures of masks over covered faces, by metric name.

    `mask_iou`, over all pictures, and over those of families never trained on `mask_iou_unseen`; `boundary_iou`, the
    overlap of the rims; `occluded_recall` and `occluded_precision` of the covered part of the face's outline, with
    `_unseen` likewise; `false_occlusion`, the share of an untouched face that is taken for covered; `iou_<family>`.
    unseen: names of families never trained on.
    """

    def __init__(self, unseen: Sequence[str]) -> None:
        super().__init__()
        self.unseen = [NAMES.index(name) for name in unseen]
        groups = ["", "_unseen"] if unseen else [""]
        self.iou: Any = nn.ModuleDict({f"mask_iou{group}": BinaryJaccardIndex() for group in groups})
        self.iou.update({f"iou_{name}": BinaryJaccardIndex() for name in NAMES})
        self.rim = BinaryJaccardIndex()
        self.recall: Any = nn.ModuleDict({f"occluded_recall{g}": BinaryRecall(ignore_index=_ELSEWHERE) for g in groups})
        self.precision: Any = nn.ModuleDict(
            {f"occluded_precision{g}": BinaryPrecision(ignore_index=_ELSEWHERE) for g in groups}
        )
        self.false = MeanMetric()

    def update(self, probability: Tensor, mask: Tensor, hull: Tensor, family: Tensor) -> None:
        """Take predictions, masks and uncovered outlines (N,1,S,S) in 0..1, and families (N,)."""
        found, wanted, face = probability > 0.5, mask > 0.5, hull > 0.5
        hidden = torch.where(face, (~wanted).long(), _ELSEWHERE)
        everything = torch.ones_like(family, dtype=torch.bool)
        strange = torch.isin(family, torch.tensor(self.unseen, device=family.device))
        for group, chosen in (("", everything), ("_unseen", strange)):
            if f"mask_iou{group}" not in self.iou or not chosen.any():
                continue
            self.iou[f"mask_iou{group}"].update(found[chosen], wanted[chosen])
            self.recall[f"occluded_recall{group}"].update((~found[chosen]).long(), hidden[chosen])
            self.precision[f"occluded_precision{group}"].update((~found[chosen]).long(), hidden[chosen])
        for number in sorted(set(family.tolist())):
            chosen = family == number
            self.iou[f"iou_{NAMES[number]}"].update(found[chosen], wanted[chosen])
        self.rim.update(rim(found), rim(wanted))
        untouched = family == NAMES.index(NONE)
        if untouched.any():
            inside = face[untouched]
            self.false.update((~found[untouched] & inside).sum() / inside.sum())

    def take(self) -> dict[str, Tensor]:
        """Return the figures since the last call, and begin anew."""
        named = [*self.iou.items(), *self.recall.items(), *self.precision.items()]
        named += [("boundary_iou", self.rim), ("false_occlusion", self.false)]
        figures = {name: metric.compute() for name, metric in named if metric.update_called}
        for _, metric in named:
            metric.reset()
        return figures


def rim(mask: Tensor) -> Tensor:
    """Return the part of masks (N,1,S,S) bool that lies within 2 % of the picture's diagonal of their edge."""
    reach = max(1, round(_RIM * 2**0.5 * mask.shape[-1]))
    outside = (~mask).float()
    # beyond the picture nothing is known: its border is no edge
    near = F.max_pool2d(F.pad(outside, [reach] * 4), 2 * reach + 1, 1) > 0.5
    return mask & near


def flicker(masks: NDArray[np.float32], points: NDArray[np.float32], tracks: NDArray[np.integer]) -> float | None:
    """Return how much masks of successive frames differ where the landmarks' motion does not explain it.

    masks: (N,S,S) 0..1, points: (N,478,2) px, tracks: (N,), in the order of time. Each mask is moved as the landmarks
    move, by the affine map that fits them best; the figure is the mean absolute difference to the next mask, over the
    part of the picture either covers. None when no two frames follow each other.
    """
    changes = []
    for before in range(len(masks) - 1):
        after = before + 1
        if tracks[before] != tracks[after]:
            continue
        known = np.concatenate([points[before], np.ones((len(points[before]), 1), np.float32)], axis=1)
        matrix = np.linalg.lstsq(known, points[after], rcond=None)[0].T
        moved = cv2.warpAffine(masks[before], matrix, masks[before].shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        area = np.maximum(moved, masks[after]).sum()
        changes.append(float(np.abs(moved - masks[after]).sum() / max(area, 1)))
    return float(np.mean(changes)) if changes else None
