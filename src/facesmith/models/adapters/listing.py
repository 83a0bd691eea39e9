"""Which adapters there are: under a folder, or in an identity's profile."""

from collections.abc import Iterator
from pathlib import Path

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile, KnownAdapter
from facesmith.models.adapters.card import CARD, AdapterCard


def enter(profiles: Path, folder: Path) -> Path:
    """Enter an adapter into its person's profile, where there is one, and give the profile's path.

    Raises:
        UserError: the folder is no adapter, or the profile is damaged.
    """
    card = AdapterCard.read(folder)
    path = profiles / f"{card.identity}.json"
    if path.exists():
        entry = KnownAdapter(
            folder=str(folder.resolve()),
            scene=card.scene.name,
            scene_key=card.scene.key,
            base=card.base.path,
            base_sha256=card.base.sha256,
            rank=card.rank,
            weights=card.weights,
            created=card.created,
        )
        IdentityProfile.load(path).with_adapter(entry).save(path)
    return path


def listed(place: Path) -> Iterator[tuple[Path, AdapterCard]]:
    """Give the adapters under a folder, or those of a profile (.json) that are still there, in the order of time.

    Raises:
        UserError: there is no such place, or an adapter's card is damaged.
    """
    if place.suffix == ".json":
        folders = [Path(one.folder) for one in IdentityProfile.load(place).adapters]
        folders = [folder for folder in folders if (folder / CARD).is_file()]
    elif place.is_dir():
        folders = [path.parent for path in place.rglob(CARD)]
    else:
        raise UserError(f"{place}: no such folder; give one that holds adapters, or a profile")
    found = [(folder, AdapterCard.read(folder)) for folder in folders]
    yield from sorted(found, key=lambda one: one[1].created)
