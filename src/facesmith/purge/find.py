"""Find everything on disk that was made from a person's face."""

from typing import Literal

from facesmith.config.schema import PathsConfig
from facesmith.config.settings import IsoDate, PathSetting, Settings, Slug
from facesmith.purge.artefacts import traces_in_folders, traces_in_profiles, traces_of_adapters
from facesmith.purge.face_sets import traces_in_face_sets
from facesmith.purge.removal import Trace
from facesmith.purge.runs import models_in_runs, traces_in_runs


class PurgeConfig(Settings):
    """Settings of `facesmith purge`."""

    name: Slug | None
    """The identity."""
    yes: bool
    """Remove without asking; what goes by another name stays all the same."""
    shared: Literal["ask", "keep", "remove"]
    """What becomes of things of another name that were made from the same pictures."""
    folders: list[PathSetting]
    """Where exported models, adapters, evaluations and cached tensors may lie besides the runs."""
    marked_media: bool
    """Also remove pictures and videos in `folders` that are marked with the identity."""
    record: PathSetting
    """Folder of the deletion records."""
    on: IsoDate | None
    """The day for which expired consent is looked up; today where None."""
    paths: PathsConfig


def find_traces(config: PurgeConfig, name: str) -> list[Trace]:
    """List everything on disk that holds the person's face or was learnt from it.

    Args:
        config: Where to look.
        name: The identity.
    """
    sets, keys = traces_in_face_sets(name, config.paths.face_sets)
    runs = traces_in_runs(name, keys, config.paths.runs)
    profiles = traces_in_profiles(name, keys, config.paths.profiles)
    folders = [folder for folder in config.folders if folder.is_dir()]
    copies = list(models_in_runs(runs))
    elsewhere = traces_in_folders(name, keys, folders, copies, media=config.marked_media)
    found = {one.files[0].resolve() for one in elsewhere}
    listed = traces_of_adapters(name, config.paths.profiles)
    elsewhere += [one for one in listed if one.files[0].resolve() not in found]
    going = [path.resolve() for trace in runs for path in trace.files]
    elsewhere = [one for one in elsewhere if not any(one.files[0].resolve().is_relative_to(path) for path in going)]
    return [*sets, *profiles, *runs, *elsewhere]
