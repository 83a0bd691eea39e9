"""Metrics of masks: overlap of areas and boundaries, and above all of the occluded part of the face."""

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

from facesmith.methods.occluder.dataset import FAMILY_NAMES
from facesmith.methods.occluder.occlusion import UNOCCLUDED

_BOUNDARY = 0.02  # width, of the picture's diagonal: Cheng et al. 2021, Boundary IoU
_OUTSIDE = -1  # label of pixels outside the face: they count for neither recall nor precision


class MaskMetrics(nn.Module):
    """Metrics of predicted masks of occluded faces.

    - `mask_iou`: intersection over union of the masks; `iou_<family>`: of the faces a family covers.
    - `boundary_iou`: the same of the boundaries of the masks.
    - `occluded_recall`, `occluded_precision`: of the occluded part of the face.
    - `false_occlusion`: share of an unoccluded face that is taken for occluded.
    - `mask_iou_unseen`, `occluded_recall_unseen`, `occluded_precision_unseen`: over families never trained on.

    Args:
        unseen: Names of families never trained on.
    """

    def __init__(self, unseen: Sequence[str]) -> None:
        super().__init__()
        self.unseen = [FAMILY_NAMES.index(name) for name in unseen]
        groups = ["", "_unseen"] if unseen else [""]
        self.iou: Any = nn.ModuleDict({f"mask_iou{group}": BinaryJaccardIndex() for group in groups})
        self.iou.update({f"iou_{name}": BinaryJaccardIndex() for name in FAMILY_NAMES})
        self.boundary = BinaryJaccardIndex()
        self.recall: Any = nn.ModuleDict({f"occluded_recall{g}": BinaryRecall(ignore_index=_OUTSIDE) for g in groups})
        self.precision: Any = nn.ModuleDict(
            {f"occluded_precision{g}": BinaryPrecision(ignore_index=_OUTSIDE) for g in groups}
        )
        self.false_occlusion = MeanMetric()

    def update(self, probability: Tensor, mask: Tensor, hull: Tensor, family: Tensor) -> None:
        """Add a batch.

        Args:
            probability: Predictions (N,1,S,S) in 0..1.
            mask: Labels (N,1,S,S) in 0..1.
            hull: Masks of the faces without anything before them, (N,1,S,S) in 0..1.
            family: Of what covers each face, (N,): positions in `FAMILY_NAMES`.
        """
        predicted, target, face = probability > 0.5, mask > 0.5, hull > 0.5
        hidden = torch.where(face, (~target).long(), _OUTSIDE)
        every = torch.ones_like(family, dtype=torch.bool)
        unseen = torch.isin(family, torch.tensor(self.unseen, device=family.device))
        for group, chosen in (("", every), ("_unseen", unseen)):
            if f"mask_iou{group}" not in self.iou or not chosen.any():
                continue
            self.iou[f"mask_iou{group}"].update(predicted[chosen], target[chosen])
            self.recall[f"occluded_recall{group}"].update((~predicted[chosen]).long(), hidden[chosen])
            self.precision[f"occluded_precision{group}"].update((~predicted[chosen]).long(), hidden[chosen])
        for number in sorted(set(family.tolist())):
            chosen = family == number
            self.iou[f"iou_{FAMILY_NAMES[number]}"].update(predicted[chosen], target[chosen])
        self.boundary.update(boundary(predicted), boundary(target))
        unoccluded = family == FAMILY_NAMES.index(UNOCCLUDED)
        if unoccluded.any():
            inside = face[unoccluded]
            self.false_occlusion.update((~predicted[unoccluded] & inside).sum() / inside.sum())

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Return the metrics since the last call by name, and begin anew."""
        named = [*self.iou.items(), *self.recall.items(), *self.precision.items()]
        named += [("boundary_iou", self.boundary), ("false_occlusion", self.false_occlusion)]
        values = {name: metric.compute() for name, metric in named if metric.update_called}
        for _, metric in named:
            metric.reset()
        return values


def boundary(mask: Tensor) -> Tensor:
    """Return the part of masks (N,1,S,S) bool that lies within 2 % of the picture's diagonal of their edge."""
    reach = max(1, round(_BOUNDARY * 2**0.5 * mask.shape[-1]))
    outside = (~mask).float()
    # beyond the picture nothing is known: its border is no edge
    near = F.max_pool2d(F.pad(outside, [reach] * 4), 2 * reach + 1, 1) > 0.5
    return mask & near


def flicker(masks: NDArray[np.float32], points: NDArray[np.float32], tracks: NDArray[np.integer]) -> float | None:
    """Measure how much masks of consecutive frames differ where the landmarks' motion does not explain it.

    Each mask is moved by the affine map that fits the landmarks' motion best, and compared with the next mask.

    Args:
        masks: (N,S,S) in 0..1, in the order of time.
        points: Landmarks (N,478,2) in px.
        tracks: Number of the track of each frame, (N,); only frames of one track are compared.

    Returns:
        Mean absolute difference over the area that either mask covers, 0..1; None when no two frames are consecutive.
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
