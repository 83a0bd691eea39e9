"""The link `latest` beside the runs of a name, which leads to the newest: commands that are pasted stay short."""

import os
from pathlib import Path
from typing import Final

from facesmith.files import short_path

LATEST: Final = "latest"


def link_latest(run: Path) -> None:
    """Let `latest` beside a run lead to it, where the system has links.

    Args:
        run: The run's folder.
    """
    link = run.parent / LATEST
    if link.exists() and not link.is_symlink():
        return  # somebody's own folder
    temporary = link.with_name(f".{LATEST}.{os.getpid()}")
    try:
        temporary.symlink_to(run.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)


def relink_latest(folder: Path) -> None:
    """Let a `latest` whose run was removed lead to the newest run that is left.

    Args:
        folder: That holds the runs of a name.
    """
    link = folder / LATEST
    runs = sorted(path for path in folder.iterdir() if path.is_dir() and (path / ".hydra").is_dir() and path != link)
    if link.is_symlink() and not link.exists() and runs:
        link_latest(runs[-1])


def show_path(path: Path, run: Path) -> str:
    """Return a path of a run as one would type it: by way of `latest` where that leads to the run.

    Args:
        path: Of something in the run's folder, or elsewhere.
        run: The run's folder.
    """
    link = run.parent / LATEST
    leads_here = link.is_symlink() and link.resolve() == run.resolve()
    inside = path.is_relative_to(run)
    return short_path(link / path.relative_to(run) if leads_here and inside else path)
