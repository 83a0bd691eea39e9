"""The tasks blend, interpolate and enrich: new identity profiles from existing ones."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.extraction import extract
from facesmith.faces.profiles.combining import blend_profiles, enrich_profile, interpolate_profiles
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.tasks.batch import Engine
from facesmith.tasks.engine.extraction import analyse_on
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.profiles.config import EnrichTaskConfig
from facesmith.tasks.profiles.embed import extraction_settings, new_profile_path
from facesmith.terminal import make_console, print_line


class BlendTask:
    """Blend identities by weights.

    Args:
        source: Files of two or more profiles.
        output: File of the new profile; None for `<name>.json` in `profiles`, which must not exist yet.
        name: Of the new identity.
        weights: One for each profile; None for equal ones.
        profiles: Folder of profiles.

    Raises:
        UserError: There are fewer than two profiles, or they cannot be blended.
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
            raise UserError(f"source={source}: needs two profiles or more; give source=[a.json,b.json]")
        self._output = output or new_profile_path(profiles, name)
        self._name, self._weights = name, weights
        self._profiles = [IdentityProfile.load(Path(path)) for path in paths]

    def run(self) -> list[Path]:
        """Blend the profiles and write the new one."""
        weights = self._weights if self._weights is not None else [1.0] * len(self._profiles)
        combined = blend_profiles(self._profiles, weights, self._name)
        combined.save(self._output)
        _print_combined(self._output, combined, self._profiles)
        return [self._output]


class InterpolateTask:
    """Interpolate between two identities along the arc between them.

    Args:
        source: Files of two profiles.
        output: File of the new profile; None for `<name>.json` in `profiles`, which must not exist yet.
        name: Of the new identity.
        t: 0 for the first profile, 1 for the second.
        profiles: Folder of profiles.

    Raises:
        UserError: There are not two profiles, or they are opposite.
    """

    def __init__(
        self, *, source: str | Sequence[str], output: Path | None, name: str, t: float, profiles: Path
    ) -> None:
        paths = [source] if isinstance(source, str) else list(source)
        if len(paths) != 2:
            raise UserError(f"source={source}: needs two profiles; give source=[a.json,b.json]")
        self._output = output or new_profile_path(profiles, name)
        self._name, self._t = name, t
        self._a, self._b = (IdentityProfile.load(Path(path)) for path in paths)

    def run(self) -> list[Path]:
        """Interpolate the profiles and write the new one."""
        combined = interpolate_profiles(self._a, self._b, self._t, self._name)
        combined.save(self._output)
        _print_combined(self._output, combined, (self._a, self._b))
        return [self._output]


class EnrichTask:
    """Add more faces of the same person to a profile, each face counting alike.

    Args:
        config: The settings.
        analyzer: Makes an analyzer; each thread gets its own.
        engine: Where the pictures are analysed.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The profile cannot be read, or has an embedder without a limit.
    """

    def __init__(
        self,
        config: EnrichTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        profile = IdentityProfile.load(config.profile)
        self._config, self._profile, self._engine = config, profile, engine
        self._output = config.output or config.profile
        self._min_similarity = limit_for_embedder(config.min_similarity, profile.embedder, "task.min_similarity")
        self._extraction = extraction_settings(
            config,
            name=profile.id,
            consent=config.consent or profile.consent,
            consent_note=config.consent_note if config.consent_note is not None else profile.consent_note,
            expires=profile.expires,
            analyzer=analyzer,
            progress=progress,
        )

    def run(self) -> list[Path]:
        """Extract the faces, add them, and write the profile.

        Raises:
            UserError: There is no usable face, or the faces are another person's, of another embedder, or known.
        """
        profile = self._profile
        before = set((self._extraction.root / profile.id).glob("*"))
        faces = extract(self._config.source, self._extraction, analyse_on(self._engine))
        known = {profile.face_set, *(ancestor.face_set for ancestor in profile.made_from)}
        if faces.key in known:
            raise UserError(
                f"source={self._config.source}: exactly these pictures are in {profile.id} already; give others"
            )
        addition = IdentityProfile.from_face_set(faces, id=profile.id, method="weighted")
        try:
            enriched = enrich_profile(profile, addition, self._min_similarity)
        except UserError:
            if faces.path not in before:  # another person's faces must not stay under this name
                shutil.rmtree(faces.path)
            raise
        enriched = enriched.model_copy(update={"adapters": profile.adapters})  # its models are still the same
        enriched.save(self._output)
        _print_combined(self._output, enriched, (profile, addition))
        return [self._output]


def limit_for_embedder(value: float | Mapping[str, float], embedder: str, key: str) -> float:
    """Return the limit that applies to an embedder.

    Args:
        value: One limit for all, or one for each embedder by its name.
        embedder: Name of the embedder.
        key: Of the setting, for the message.

    Raises:
        UserError: There is none for this embedder.
    """
    if not isinstance(value, Mapping):
        return float(value)
    if embedder not in value:
        raise UserError(f"{key}: has no limit for the embedder {embedder}; give one number: {key}=0.5")
    return float(value[embedder])


def _print_combined(path: Path, combined: IdentityProfile, parents: Sequence[IdentityProfile]) -> None:
    """Print path, similarity to the parents, and consent of a combined profile."""
    similarities = ", ".join(
        f"{parent.id} {float(parent.similarity(combined.mean[None], combined.embedder)[0]):.3f}" for parent in parents
    )
    expires = f", until {combined.expires}" if combined.expires else ""
    print_line(
        f"{path}: {combined.id}, similarity to {similarities}; consent {combined.consent}{expires}", make_console()
    )
