"""The blend task: one identity out of several."""

from collections.abc import Sequence
from pathlib import Path

from facesmith.errors import UserError
from facesmith.faces.profiles.combining import blend
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.tasks.profiles.embed import new_profile
from facesmith.tasks.profiles.telling import tell_combined


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
        made = blend(self._profiles, weights, self._name)
        made.save(self._output)
        tell_combined(self._output, made, self._profiles)
        return [self._output]
