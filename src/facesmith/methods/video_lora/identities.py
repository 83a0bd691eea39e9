"""The people of a training, one or several: photos, dances and profiles of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings

Sources = str | Sequence[str]


def photo_sources(faces: Sources | Mapping[str, Sources], name: str) -> dict[str, Sources]:
    """Return where each person's photos lie, by name; photos of one person have the name of the run."""
    return dict(faces) if isinstance(faces, Mapping) else {name: faces}


def assign_identities(stems: Sequence[str], names: Sequence[str], complete: bool = True) -> list[int]:
    """Find out who dances in each video.

    Args:
        stems: Names of the videos, without endings.
        names: Of the people. If there are several, a video's name begins with that of who dances, as in `ada_001`.
        complete: Whether everybody must have a video.

    Returns:
        For each video the position of a name.

    Raises:
        UserError: a video begins with no name, or a name has no video.
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
    if idle and complete:
        raise UserError(f"data.videos: no video of {', '.join(idle)}; add videos such as {idle[0]}_001.mp4")
    return found


def sample_single_photos(people: Sequence[FaceEmbeddings], faces: Tensor, identities: Tensor, share: float) -> Tensor:
    """Replace a random share of mean embeddings by the embedding of one photo of the same person.

    Args:
        people: By position.
        faces: (N,E) mean embeddings.
        identities: (N,) positions in `people`.
        share: Of the N that are replaced.

    Returns:
        (N,E).
    """
    singles = torch.cat([one.embeddings for one in people]).to(faces)
    counts = torch.tensor([len(one.embeddings) for one in people], device=faces.device)
    first = counts.cumsum(0) - counts
    chosen = first[identities] + (torch.rand(len(faces), device=faces.device) * counts[identities]).long()
    replaced = torch.rand(len(faces), 1, device=faces.device) < share
    return torch.where(replaced, singles[chosen], faces)


def describe_identities(people: Mapping[str, FaceEmbeddings]) -> dict[str, dict[str, Any]]:
    """Return what `write_profiles` needs of everybody, as plain values."""
    return {
        name: {
            "photos": len(one.embeddings),
            "embedding": one.mean.tolist(),
            "spread": one.embeddings.std(0, correction=0).tolist(),
        }
        for name, one in people.items()
    }


def write_profiles(folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write everybody's identity profile, `<name>.json`, to be blended, or generated with `embedding=`.

    Args:
        folder: Where the profiles go.
        provenance: Of `VideoLoraDataModule`, with `describe_identities` as `people`.

    Returns:
        The files.
    """
    paths = []
    for name, person in provenance["people"].items():
        profile = IdentityProfile.create(
            id=name,
            embedder=provenance["encoder"],
            embedding_mean=np.asarray(person["embedding"], np.float32),
            embedding_std=np.asarray(person["spread"], np.float32),
            num_frames=person["photos"],
            consent=provenance["consent"],
            consent_note=provenance["consent_note"] or None,
            expires=provenance["expires"],
        )
        paths.append(folder / f"{name}.json")
        profile.save(paths[-1])
    return paths
