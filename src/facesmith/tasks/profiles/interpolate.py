"""The interpolate task: an identity on the way between two others."""

from collections.abc import Sequence
from pathlib import Path

from facesmith.errors import UserError
from facesmith.faces.profiles.combining import interpolate
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.tasks.profiles.embed import new_profile
from facesmith.tasks.profiles.telling import tell_combined


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
        made = interpolate(self._a, self._b, self._t, self._name)
        made.save(self._output)
        tell_combined(self._output, made, (self._a, self._b))
        return [self._output]
