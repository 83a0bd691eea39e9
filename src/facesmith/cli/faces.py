"""`facesmith faces`: look through a person's faces, and leave out those that are no good."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final, Literal

from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.cli.next_commands import print_next
from facesmith.config.schema import PathsConfig
from facesmith.config.settings import Settings
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError
from facesmith.files import make_private, short_path
from facesmith.progress import waiting
from facesmith.terminal import make_console, print_line

if TYPE_CHECKING:
    from facesmith.faces.face_set.face_set import FaceSet, SelectedFace

_HELP: Final = """\
Look through the faces of a face set and leave some out; trainings and profiles honour it.

  facesmith faces ada                        draw the numbered faces, and count them
  facesmith faces ada sort=sharpness         the worst first: sharpness, pose, likeness or size
  facesmith faces ada leave-out 12 37 40-44  these are not used any more
  facesmith faces ada take-back 37           this one is used again; take-back all
  facesmith faces ada extract data.source=photos/ data.consent=self
                                             find them, as experiment=identity does with the same keys
  facesmith faces ada extract ... engine=ray on the workers of a Ray cluster

keys
  sort=number      number, sharpness, pose, likeness or size: in which order the sheet shows them
  set=             first digits of a face set's folder, where there are several; the newest
  paths.face_sets=face_sets
"""
_VERBS: Final = ("leave-out", "take-back")
_EXTRACT: Final = "extract"
_PAGE: Final = 180  # faces of one sheet


class FacesConfig(Settings):
    """Settings of the command."""

    paths: PathsConfig
    sort: Literal["number", "sharpness", "pose", "likeness", "size"]
    """In which order the sheet shows the faces, the worst first."""
    set: str | None
    """First digits of a face set's folder; null: the newest."""


def main(given: Sequence[str]) -> int:
    """Draw the numbered faces of a person, leave some out or take some back."""
    if wants_help(given) or not given:
        print(_HELP, end="")
        return 0
    if list(given[1:2]) == [_EXTRACT]:
        from facesmith.cli.face_extraction import extract_person

        extract_person(given[0], given[2:])
        return 0
    plain = [word for word in given if "=" not in word]
    config = read_arguments([word for word in given if "=" in word], FacesConfig, conf="faces")
    name = plain[0] if plain else ""
    verb, numbers = (plain[1], plain[2:]) if len(plain) > 1 else ("", [])
    if verb and verb not in _VERBS:
        closest = closest_match(verb, (*_VERBS, _EXTRACT))
        raise UserError(f"facesmith faces {name} {verb}: no such verb; write {closest or ' or '.join(_VERBS)} 12 37")
    if verb and not numbers:
        raise UserError(f"facesmith faces {name} {verb}: which ones? give numbers of the sheet, such as {verb} 12 37")

    with waiting(f"looking for the faces of {name}"):
        from facesmith.faces.face_set.curation import parse_numbers, write_left_out
        from facesmith.faces.face_set.face_set import FaceSet

        folder = _find(config.paths.face_sets, name, config.set)
        faces = FaceSet(folder)
    chosen = {faces.selected_crops[number - 1] for number in parse_numbers(numbers, len(faces.selected_crops))}
    left_out = faces.left_out | chosen if verb == "leave-out" else faces.left_out - chosen
    if len(left_out) == len(faces.selected_crops):
        raise UserError(f"facesmith faces {name}: this leaves no face; take some back")
    if left_out != faces.left_out:
        write_left_out(folder, left_out, faces.selected_crops)
        faces = FaceSet(folder)
    with waiting(f"drawing {len(faces.selected_crops)} faces"):
        sheets = _draw(faces, config.sort)
    console = make_console()
    out = f", {len(left_out)} left out" if left_out else ""
    rejected = sum(faces.meta["rejected"].values())
    print_line(f"{name}: {len(faces)} faces are used{out}, {rejected} were rejected", console)
    for sheet in sheets:
        print_line(f"  look at  {short_path(sheet)}", console)
    if verb:
        print_line("The next training and the next profile honour it; runs that exist stay as they are.", console)
    else:
        worst = " ".join(str(row.number) for row in _sort(faces, config.sort)[:2])
        print_line("The worst come first." if config.sort != "number" else "Blurred, or somebody else? Then:", console)
        print_next([f"facesmith faces {quote(name)} leave-out {worst}"])
    return 0


def _find(root: Path, name: str, key: str | None) -> Path:
    """Return the folder of a person's newest finished face set, or of the one that is named."""
    from facesmith.faces.face_set.face_set import META

    found = sorted((root / name).glob(f"*/{META}"), key=lambda path: path.stat().st_mtime) if name else []
    if not found:
        known = sorted({path.parent.parent.name for path in root.glob(f"*/*/{META}")})
        closest = closest_match(name, known)
        mend = (
            f"did you mean {closest}?" if closest else f"there are {', '.join(known)}" if known else "train one first"
        )
        raise UserError(f"{root / name}: holds no face set; {mend}")
    named = [path.parent for path in found if key is None or path.parent.name.startswith(key)]
    if not named:
        raise UserError(f"set={key}: no such face set; there are {', '.join(path.parent.name for path in found)}")
    return named[-1]


def _sort(faces: "FaceSet", key: str) -> "list[SelectedFace]":
    return sorted(faces.describe_selected(), key=lambda row: getattr(row, key))


def _draw(faces: "FaceSet", sort: str) -> list[Path]:
    """Draw all selected faces with their numbers, those left out crossed out in red, on as many sheets as it takes."""
    from facesmith.faces.face_set.contact_sheet import Thumbnail, write_contact_sheet

    thumbnails = [
        Thumbnail(
            faces.path / "crops" / row.crop,
            f"{row.number}  {row.origin}",
            "left out by you" if row.crop in faces.left_out else None,
            (None,) * 5,
            row.landmarks,
        )
        for row in _sort(faces, sort)
    ]
    pages = [thumbnails[start : start + _PAGE] for start in range(0, len(thumbnails), _PAGE)]
    written = []
    for number, page in enumerate(pages):
        suffix = f"_{number + 1}" if len(pages) > 1 else ""
        path = faces.path / f"faces_by_{sort}{suffix}.png"
        title = f"{faces.meta['name']} by {sort}" + (f", page {number + 1} of {len(pages)}" if len(pages) > 1 else "")
        write_contact_sheet(path, page, title)
        make_private(path)
        written.append(path)
    return written
