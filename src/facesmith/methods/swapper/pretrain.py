"""Many people at once: what generators that take any identity are pretrained on."""

import re

import numpy as np

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.methods.swapper.data import SwapperDataModule
from facesmith.methods.swapper.splits import Cast, Part, split_frames, spread


class PretrainDataModule(SwapperDataModule):
    """A folder of people, one subfolder each: every person is put into scenes of the others.

    Held-out people are never trained on; the others are checked on their faces.
    """

    def _cast(self) -> list[Cast]:
        folders = (
            sorted(path for path in self.config.source.iterdir() if path.is_dir())
            if self.config.source.is_dir()
            else []
        )
        if len(folders) < 2:
            raise UserError(
                f"data.source={self.config.source}: must be a folder with a subfolder for each of several people"
            )
        held = self._held_out([folder.name for folder in folders])
        people = {folder.name: self._person(str(folder), self.config.name, _slug(folder.name)) for folder in folders}
        extra = [self._everything(self._scenes())] if self.config.targets is not None else []
        casts = []
        for name, faces in people.items():
            if name in held:
                continue
            others = [self._everything(other) for key, other in people.items() if key != name and key not in held]
            frames, held_frames = split_frames(faces, self.config.holdout_frames)
            strangers = [self._everything(people[key]) for key in held]
            casts.append(Cast(frames, held_frames, self._some([*others, *extra]), self._some(strangers)))
        return casts

    def _held_out(self, names: list[str]) -> list[str]:
        holdout = self.config.holdout
        if isinstance(holdout, float | int):
            return names[len(names) - min(len(names) - 2, round(holdout * len(names))) :] if holdout else []
        unknown = sorted(set(holdout) - set(names))
        if unknown or len(names) - len(holdout) < 2:
            why = f"no folder is called {', '.join(unknown)}" if unknown else "leaves fewer than two people to train on"
            raise UserError(f"data.holdout: {why}; there are {', '.join(names[:12])}")
        return list(holdout)

    def _everything(self, faces: FaceSet) -> Part:
        return Part(faces, np.arange(len(faces)))

    def _some(self, parts: list[Part]) -> list[Part]:
        """Choose `scenes_per_person` faces in all, of as many people as possible."""
        chosen = [parts[i] for i in spread(len(parts), self.config.scenes_per_person)]
        each = -(-self.config.scenes_per_person // max(1, len(chosen)))
        return [Part(part.faces, part.rows[spread(len(part), each)]) for part in chosen]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "person"
