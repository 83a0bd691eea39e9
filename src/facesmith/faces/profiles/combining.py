"""New identity profiles from others: blended, interpolated, enriched. Vectors of one embedder only."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.config.consent import CONSENT_KINDS
from facesmith.errors import UserError
from facesmith.faces.profiles.profile import Ancestor, IdentityProfile

Vector = npt.NDArray[np.float64]


_PARALLEL: Final = 1e-6


def blend_profiles(profiles: Sequence[IdentityProfile], weights: Sequence[float], id: str) -> IdentityProfile:
    """Mix identities: the weighted mean of their directions.

    The spread is that of the mixture: of each around its mean, and of the means.

    Args:
        profiles: Of one embedder.
        weights: One number >= 0 for each; brought to a sum of 1.
        id: Slug of the new identity.

    Raises:
        UserError: profiles of different embedders, weights that do not fit, or directions that cancel out.
    """
    shares = np.asarray(weights, np.float64)
    if len(shares) != len(profiles) or shares.min() < 0 or shares.sum() <= 0:
        raise UserError(
            f"task.weights={list(weights)}: give one number >= 0 for each of the {len(profiles)} profiles, not all 0"
        )
    shares = shares / shares.sum()
    means = _means(profiles)
    return _combined(profiles, shares, shares @ means, _spread(profiles, shares, means), id)


def interpolate_profiles(a: IdentityProfile, b: IdentityProfile, t: float, id: str) -> IdentityProfile:
    """Go from one identity to another along the arc between them, at even speed (slerp).

    Args:
        a: Where t is 0.
        b: Where t is 1.
        t: 0..1.
        id: Slug of the new identity.

    Raises:
        UserError: profiles of different embedders, or opposite directions, between which no arc is the shortest.
    """
    profiles, shares = (a, b), np.array([1 - t, t])
    means = _means(profiles)
    cosine = float(np.clip(means[0] @ means[1], -1, 1))
    if cosine < _PARALLEL - 1:
        raise UserError(f"source: {a.id} and {b.id} point in opposite directions; there is no way between them")
    angle = float(np.arccos(cosine))
    if angle < _PARALLEL:
        mean = shares @ means
    else:
        mean = (np.sin((1 - t) * angle) * means[0] + np.sin(t * angle) * means[1]) / np.sin(angle)
    return _combined(profiles, shares, mean, _spread(profiles, shares, means), id)


def enrich_profile(profile: IdentityProfile, more: IdentityProfile, min_similarity: float) -> IdentityProfile:
    """Add newly measured faces of the same person, each face counting alike.

    Args:
        profile: The person.
        more: Profile of the new faces.
        min_similarity: Cosine below which they are somebody else's.

    Raises:
        UserError: another embedder, or another person.
    """
    means = _means((profile, more))
    alike = float(means[0] @ means[1])
    if alike < min_similarity:
        raise UserError(
            f"source: shows somebody else: similarity {alike:.2f} to {profile.id}, at least {min_similarity:.2f} is "
            "needed; give pictures of the same person, or lower task.min_similarity"
        )
    counts = np.array([profile.num_frames, more.num_frames], np.float64)
    shares = counts / counts.sum()
    combined = _combined((profile, more), shares, shares @ means, _spread((profile, more), shares, means), profile.id)
    return combined.model_copy(update={"name": profile.name})


def _means(profiles: Sequence[IdentityProfile]) -> Vector:
    first = profiles[0]
    for one in profiles[1:]:
        one.require_embedder(first.embedder, len(first.embedding_mean))
    return np.stack([np.asarray(one.embedding_mean, np.float64) for one in profiles])


def _spread(profiles: Sequence[IdentityProfile], shares: Vector, means: Vector) -> Vector:
    middle = shares @ means
    variances = np.stack([np.square(np.asarray(one.embedding_std, np.float64)) for one in profiles])
    return np.sqrt(shares @ (variances + np.square(means - middle)))


def _combined(
    profiles: Sequence[IdentityProfile], shares: Vector, mean: Vector, std: Vector, id: str
) -> IdentityProfile:
    known = set.intersection(*(set(one.quality_stats) for one in profiles))
    stats = {
        name: float(sum(share * one.quality_stats[name] for share, one in zip(shares, profiles, strict=True)))
        for name in sorted(known)
    }
    try:
        return IdentityProfile.create(
            id=id,
            embedder=profiles[0].embedder,
            embedding_mean=np.asarray(mean, np.float32),
            embedding_std=np.asarray(std, np.float32),
            num_frames=sum(one.num_frames for one in profiles),
            quality_stats=stats,
            consent=min((one.consent for one in profiles), key=CONSENT_KINDS.index),
            consent_note=_note(profiles),
            expires=min((one.expires for one in profiles if one.expires), default=None),
            made_from=_made_from(profiles, shares),
            ancestors=[id for one in profiles for id in (one.id, *one.ancestors)],
        )
    except ValueError as error:
        names = ", ".join(one.id for one in profiles)
        raise UserError(f"source: {names} cancel each other out ({error}); choose other weights") from None


def _made_from(profiles: Sequence[IdentityProfile], shares: Vector) -> list[Ancestor]:
    """Return the sources of a combination; a profile without a face set passes on those it was made from."""
    return [
        Ancestor(id=one.id, face_set=key, weight=float(share * part))
        for share, one in zip(shares, profiles, strict=True)
        for key, part in (
            [(one.face_set, 1.0)]
            if one.face_set
            else [(old.face_set, old.weight) for old in one.made_from] or [("", 1.0)]
        )
    ]


def _note(profiles: Sequence[IdentityProfile]) -> str:
    notes = [f"{one.id}: {one.consent}" + (f" ({one.consent_note})" if one.consent_note else "") for one in profiles]
    return "; ".join(dict.fromkeys(notes))
