"""Who is taught: photos of one person, or of several that dance in videos named after them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.methods.video_lora.references import References

Sources = str | Sequence[str]


def sources_of(faces: Sources | Mapping[str, Sources], name: str) -> dict[str, Sources]:
    """Give everybody's photos by name; photos of one person go by the name of the run."""
    return dict(faces) if isinstance(faces, Mapping) else {name: faces}


def dancers(stems: Sequence[str], names: Sequence[str]) -> list[int]:
    """Say by number who dances in each video: of several people the one whose name it begins with, as in `ada_001`.

    Raises:
        UserError: a video says nobody's name, or nobody dances under a name.
    """
    if len(names) == 1:
        return [0] * len(stems)
    found = []
    for stem in stems:
        fitting = [name for name in names if stem == name or stem.startswith(f"{name}_")]
        if not fitting:
            raise UserError(
                f"data.videos: {stem} does not say who dances; name it after one of data.faces, such as "
                f"{names[0]}_{stem}"
            )
        found.append(names.index(max(fitting, key=len)))
    idle = [name for number, name in enumerate(names) if number not in found]
    if idle:
        raise UserError(f"data.videos: nobody dances as {', '.join(idle)}; add videos such as {idle[0]}_001.mp4")
    return found


def some_photos(people: Sequence[References], face: Tensor, who: Tensor, share: float) -> Tensor:
    """Give (N,E) embeddings, in the share `share` those of one photo instead of the person's; who: (N,) numbers."""
    singles = torch.cat([one.embeddings for one in people]).to(face)
    counts = torch.tensor([len(one.embeddings) for one in people], device=face.device)
    first = counts.cumsum(0) - counts
    chosen = first[who] + (torch.rand(len(face), device=face.device) * counts[who]).long()
    alone = torch.rand(len(face), 1, device=face.device) < share
    return torch.where(alone, singles[chosen], face)


def described(people: Mapping[str, References]) -> dict[str, dict[str, Any]]:
    """Say of everybody, in plain values, what their photos said: what `write_profiles` needs."""
    return {
        name: {
            "photos": len(one.embeddings),
            "embedding": one.identity.tolist(),
            "spread": one.embeddings.std(0, correction=0).tolist(),
        }
        for name, one in people.items()
    }


def write_profiles(folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write everybody's identity profile, `<name>.json`: what is blended, and drawn with `embedding=`."""
    paths = []
    for name, told in provenance["people"].items():
        profile = IdentityProfile.create(
            id=name,
            name=name,
            embedder=provenance["encoder"],
            embedding_mean=np.asarray(told["embedding"], np.float32),
            embedding_std=np.asarray(told["spread"], np.float32),
            num_frames=told["photos"],
            quality_stats={},
            gate={},
            face_set="",
            consent=provenance["consent"],
            consent_note=provenance["consent_note"] or None,
            expires=provenance["expires"],
        )
        paths.append(folder / f"{name}.json")
        profile.save(paths[-1])
    return paths
