"""The data of a swapper: one person and scenes, or many people in each other's scenes."""

import logging
import re

import numpy as np

from facesmith.errors import UserError
from facesmith.faces.face_set.coverage import advise_pictures
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.media.sampling import evenly_spaced
from facesmith.methods.swapper.config import PretrainDataModuleConfig, SwapperDataModuleConfig
from facesmith.training.swapping.data import STOCK_FACES, SwapDataModule
from facesmith.training.swapping.splits import FaceSubset, IdentitySplit, split_frames, split_scenes

log = logging.getLogger(__name__)


class SwapperDataModule(SwapDataModule):
    """One person's faces, and the scenes to put that person into, if any are given."""

    config: SwapperDataModuleConfig

    def __init__(self, config: SwapperDataModuleConfig) -> None:
        super().__init__(config, identity=config.name, size=config.size, train_size=config.train_size)

    def split_identities(self) -> list[IdentitySplit]:
        """Hold out the person's last frames, and the targets that `holdout` names."""
        person = self.person_faces(self.config.source, self.identity)
        for line in advise_pictures(person):
            log.info("data.source: %s", line)
        frames, held_out_frames = split_frames(person, self.config.holdout_frames)
        if self.config.targets is not None:
            faces = self.scene_faces(self.config.targets, "data.targets")
            scenes, held_out_scenes = split_scenes(faces, self.config.holdout)
            return [IdentitySplit(frames, held_out_frames, [scenes], [held_out_scenes])]
        return [IdentitySplit(frames, held_out_frames, [], [], [self._donors(person)])]

    def _donors(self, person: FaceSet) -> FaceSubset:
        """Return the faces of others that the person's frames wear where no scene is given."""
        faces = self.scene_faces(STOCK_FACES, "data.targets")
        others = np.flatnonzero(
            faces.embeddings @ person.embedding_mean("weighted") < self.config.selection.min_similarity
        )
        if not len(others):
            raise UserError(
                "data.targets: is not given, and those who stand in for scenes look like the person; give pictures of "
                "other people"
            )
        return FaceSubset(faces, others)


class PretrainDataModule(SwapDataModule):
    """A folder of people, one subfolder each: every person is put into scenes of the others.

    Held-out people are never trained on; the others are validated on their faces.
    """

    config: PretrainDataModuleConfig

    def __init__(self, config: PretrainDataModuleConfig) -> None:
        super().__init__(config, identity=config.name, size=config.size, train_size=config.train_size)

    def split_identities(self) -> list[IdentitySplit]:
        """Hold out the people that `holdout` names, and the last frames of the others."""
        folders, held_out = self.config.people(), self.config.held_out()
        people = {
            folder.name: self.person_faces(str(folder), self.config.name, _slug(folder.name)) for folder in folders
        }
        targets = self.config.targets
        extra = [FaceSubset.whole(self.scene_faces(targets, "data.targets"))] if targets is not None else []
        splits = []
        for name, faces in people.items():
            if name in held_out:
                continue
            others = [FaceSubset.whole(other) for key, other in people.items() if key not in (name, *held_out)]
            frames, held_out_frames = split_frames(faces, self.config.holdout_frames)
            strangers = [FaceSubset.whole(people[key]) for key in held_out]
            scenes, held_out_scenes = self._some([*others, *extra]), self._some(strangers)
            splits.append(IdentitySplit(frames, held_out_frames, scenes, held_out_scenes))
        return splits

    def _some(self, scenes: list[FaceSubset]) -> list[FaceSubset]:
        """Choose `scenes_per_person` faces in all, of as many people as possible."""
        chosen = [scenes[i] for i in evenly_spaced(len(scenes), self.config.scenes_per_person, ends=True)]
        each = -(-self.config.scenes_per_person // max(1, len(chosen)))
        return [scene.thinned(each) for scene in chosen]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "person"
