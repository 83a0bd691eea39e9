"""What the page asks of media, in a process of its own: can an upload be used, and which mark does a file carry."""

from pathlib import Path

from facesmith.errors import UserError
from facesmith.studio.project import PICTURES, VIDEOS


def describe_problem(path: Path) -> str | None:
    """Return why a file is no picture and no video, or None.

    Args:
        path: Of an upload.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        from facesmith.media.images import read_image

        try:
            read_image(path)
        except UserError as error:
            return str(error).removeprefix(f"{path}: ").splitlines()[0]
        return None
    if suffix in VIDEOS:
        from facesmith.media.video import open_video

        try:
            with open_video(path, "pyav") as reader:
                return None if len(reader) else "holds no frame"
        except UserError as error:
            return str(error).removeprefix(f"{path}: ").splitlines()[0]
    return f"is no picture or video; give {', '.join((*PICTURES[:4], *VIDEOS[:2]))}"


def read_mark(path: Path) -> list[str]:
    """Return the lines of `facesmith provenance verify`: what a file states of where it is from, and whether it holds.

    Args:
        path: Of a picture or film.

    Raises:
        UserError: It cannot be read.
    """
    from facesmith.cli.provenance import explain
    from facesmith.media.verification import verify_provenance

    return explain(verify_provenance(path, ""))
