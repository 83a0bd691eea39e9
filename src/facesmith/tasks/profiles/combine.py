"""What the profile tasks say of what they made."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.config import SelectionConfig
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.profiles.combining import blend_profiles, enrich_profile, interpolate_profiles
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.tasks.profiles.embed import NO_SMOOTHING, new_profile


def tell_combined(path: Path, made: IdentityProfile, parents: Sequence[IdentityProfile]) -> None:
    """Print where it is, how alike it is to what it was made from, and whose consent it carries."""
    alike = ", ".join(
        f"{parent.id} {float(parent.similarity(made.mean[None], made.embedder)[0]):.3f}" for parent in parents
    )
    expires = f", until {made.expires}" if made.expires else ""
    Console(highlight=False, soft_wrap=True).print(
        f"{path}: {made.id}, similarity to {alike}; consent {made.consent}{expires}", markup=False
    )


class BlendTask:
    """Mix identities by weights.

    source: profiles, two or more. weights: of each, None for equal ones. name: of the new identity. output: its
    file; None: <profiles>/<name>.json, which must not be there yet.

    Raises:
        UserError: fewer than two profiles, or ones that cannot be mixed.
    """

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        output: Path | None,
        name: str,
        weights: Sequence[float] | None,
        profiles: Path,
    ) -> None:
        paths = [source] if isinstance(source, str) else list(source)
        if len(paths) < 2:
            raise UserError(f"source={source}: one profile is nothing to blend; give source=[a.json,b.json]")
        self._output = output or new_profile(profiles, name)
        self._name, self._weights = name, weights
        self._profiles = [IdentityProfile.load(Path(path)) for path in paths]

    def run(self) -> list[Path]:
        """Mix and write."""
        weights = self._weights if self._weights is not None else [1.0] * len(self._profiles)
        made = blend_profiles(self._profiles, weights, self._name)
        made.save(self._output)
        tell_combined(self._output, made, self._profiles)
        return [self._output]


class InterpolateTask:
    """Go a share `t` of the way from one identity to another, along the arc between them.

    source: two profiles. t: 0 the first .. 1 the second. name: of the new identity. output: its file; None:
    <profiles>/<name>.json, which must not be there yet.

    Raises:
        UserError: not two profiles, or ones between which there is no way.
    """

    def __init__(
        self, *, source: str | Sequence[str], output: Path | None, name: str, t: float, profiles: Path
    ) -> None:
        paths = [source] if isinstance(source, str) else list(source)
        if len(paths) != 2:
            raise UserError(f"source={source}: between how many? give two, source=[a.json,b.json]")
        self._output = output or new_profile(profiles, name)
        self._name, self._t = name, t
        self._a, self._b = (IdentityProfile.load(Path(path)) for path in paths)

    def run(self) -> list[Path]:
        """Interpolate and write."""
        made = interpolate_profiles(self._a, self._b, self._t, self._name)
        made.save(self._output)
        tell_combined(self._output, made, (self._a, self._b))
        return [self._output]


class EnrichTask:
    """Measure more faces of the same person and add them, each face counting alike.

    profile: of the person. source: the new photos and videos. output: where the richer profile goes; None: in place.
    consent, consent_note: of the new pictures; None: as the profile says. min_similarity: cosine of the new faces to
    the profile below which they are somebody else's, by embedder or one for all. Others: as in `EmbedTask`.

    Raises:
        UserError: no usable face, another person, or another embedder.
    """

    def __init__(
        self,
        *,
        profile: Path,
        source: str | Sequence[str],
        output: Path | None,
        consent: str | None,
        consent_note: str | None,
        min_similarity: float | Mapping[str, float],
        max_frames: int,
        selection: SelectionConfig,
        face_sets: Path,
        backend: Literal["pyav", "decord"],
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._profile = IdentityProfile.load(profile)
        self._output = output or profile
        self._source = source
        self._consent = consent or self._profile.consent
        self._consent_note = consent_note if consent_note is not None else self._profile.consent_note
        self._min_similarity = by_embedder(min_similarity, self._profile.embedder, "task.min_similarity")
        self._extraction = ExtractionSettings(
            name=self._profile.id,
            root=face_sets,
            consent=self._consent,
            consent_note=self._consent_note or "",
            expires=self._profile.expires,
            analyzer=analyzer,
            backend=backend,
            max_frames=max_frames,
            people="one",
            selection=selection,
            smoothing=NO_SMOOTHING,
            progress=progress,
            setting="source",
        )

    def run(self) -> list[Path]:
        """Measure, add and write."""
        before = set((self._extraction.root / self._profile.id).glob("*"))
        faces = extract(self._source, self._extraction)
        known = {self._profile.face_set, *(one.face_set for one in self._profile.made_from)}
        if faces.key in known:
            raise UserError(
                f"source={self._source}: these very pictures are in {self._profile.id} already; give others"
            )
        more = IdentityProfile.of_faces(
            faces,
            id=self._profile.id,
            method="weighted",
            gate={},
            consent=self._consent,
            consent_note=self._consent_note,
            expires=self._profile.expires,
        )
        try:
            made = enrich_profile(self._profile, more, self._min_similarity)
        except UserError:
            if faces.path not in before:  # somebody's faces do not stay under another's name
                shutil.rmtree(faces.path)
            raise
        made = made.model_copy(update={"adapters": self._profile.adapters})  # its models are still the same
        made.save(self._output)
        tell_combined(self._output, made, (self._profile, more))
        return [self._output]


def by_embedder(value: float | Mapping[str, float], embedder: str, key: str) -> float:
    """Return the limit that holds for an embedder.

    Raises:
        UserError: none is known for it.
    """
    if not isinstance(value, Mapping):
        return float(value)
    if embedder not in value:
        raise UserError(f"{key}: knows no limit for the embedder {embedder}; give one number: {key}=0.5")
    return float(value[embedder])
