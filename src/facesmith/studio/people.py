"""People as the page shows them: uploads, faces to leave out, what is missing, profiles."""

import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from facesmith.config.consent import CONSENT_KINDS
from facesmith.errors import UserError
from facesmith.faces.face_set.coverage import advise_pictures, describe_flaws
from facesmith.faces.face_set.curation import write_left_out
from facesmith.faces.face_set.face_set import CROPS, FaceSet, SelectedFace
from facesmith.files import FILE, make_private_folder, read_json_object
from facesmith.studio.drawing import draw_table
from facesmith.studio.files import file_url
from facesmith.studio.media_checks import describe_problem
from facesmith.studio.project import UPLOADS, Project
from facesmith.studio.words import argument, check_slug
from facesmith.studio.worker import WorkerError, read_medium

SORTS: Final = ("number", "sharpness", "pose", "likeness", "size")
_MOST_ROWS: Final = 200  # of rejected faces


def keep_uploads(project: Project, folder: Path, files: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Move uploads to a private folder of the project; what is neither picture nor video stays behind.

    Args:
        project: Whose folder it is.
        folder: Below it.
        files: Where the server put them.

    Returns:
        The files that were kept, and a line for each that was not.

    Raises:
        UserError: The folder lies elsewhere.
    """
    project.resolve(str(folder), "uploads")
    make_private_folder(project.root / UPLOADS)
    make_private_folder(folder)
    kept, refused = [], []
    for given in files:
        path = Path(given)
        try:
            problem = read_medium(describe_problem, path)
        except WorkerError as error:  # which this file caused; the others are kept
            problem = str(error)
        if problem is not None:
            refused.append(f"{path.name}: {problem}")
            path.unlink(missing_ok=True)
            continue
        place = _free_name(folder, path.name)
        shutil.move(path, place)
        place.chmod(FILE)
        kept.append(place)
    return kept, refused


def consent_words(consent: str, note: str, until: str, prefix: str = "data.") -> list[str]:
    """Return the arguments that state a consent.

    Args:
        consent: Its kind.
        note: Who agreed to what.
        until: Its last day, or "".
        prefix: Of the keys.

    Raises:
        UserError: No kind is chosen.
    """
    if consent not in CONSENT_KINDS:
        raise UserError(f"consent: choose one of {', '.join(CONSENT_KINDS)} before pictures are used")
    words = [f"{prefix}consent={consent}"]
    words += [argument(f"{prefix}consent_note", note.strip())] if note.strip() else []
    return words + ([argument(f"{prefix}expires", until.strip())] if until.strip() else [])


def extract_words(project: Project, name: str, source: str, consent: str, note: str, until: str) -> list[str]:
    """Return the command's words that find a person's faces.

    Args:
        project: The project.
        name: The person's name.
        source: File or folder of the project; "" for the uploads.
        consent: Kind of consent.
        note: Who agreed to what; may be empty.
        until: Last day of the consent, as 2027-12-31; "" for no end.

    Raises:
        UserError: A field cannot be used.
    """
    check_slug(name, "name")
    stated = consent_words(consent, note, until)
    place = source.strip() or project.short(project.uploads(name))
    given = argument("data.source", project.existing(place, "source"))
    return ["faces", name, "extract", given, *stated, *project.path_arguments()]


def newest_set(project: Project, name: str) -> FaceSet:
    """Return a person's newest face set.

    Args:
        project: The project.
        name: The person's name.

    Raises:
        UserError: There is none.
    """
    found = project.face_sets(name)
    if not found:
        raise UserError(f"{name}: has no faces yet; give pictures and find the faces first")
    return FaceSet(found[0])


def toggle_face(project: Project, name: str, number: int) -> tuple[FaceSet, str]:
    """Leave a face out, or take it back, as `facesmith faces` does.

    Args:
        project: It.
        name: The person's.
        number: Of the face, from 1.

    Returns:
        The face set, and the words of the command that does the same.

    Raises:
        UserError: There is no such face, or it is the last.
    """
    faces = newest_set(project, name)
    if not 1 <= number <= len(faces.selected_crops):
        raise UserError(f"face={number}: there is no such face; they are numbered 1 to {len(faces.selected_crops)}")
    crop = faces.selected_crops[number - 1]
    verb = "take-back" if crop in faces.left_out else "leave-out"
    left_out = faces.left_out ^ {crop}
    if len(left_out) == len(faces.selected_crops):
        raise UserError(f"{name}: this leaves no face; take some back")
    write_left_out(faces.path, left_out, faces.selected_crops)
    return FaceSet(faces.path), f"faces {name} {verb} {number}"


def describe_person(project: Project, faces: FaceSet) -> str:
    """Draw what is known of a person's faces: consent, counts, what is missing, what was rejected.

    Args:
        project: It.
        faces: The person's.
    """
    meta = faces.meta
    until = f", until {meta['expires']}" if meta.get("expires") else ", no end date"
    consent = f"{meta.get('consent')}{until}" + (f": {meta['consent_note']}" if meta.get("consent_note") else "")
    rejected = sum(meta["rejected"].values())
    facts = [
        ("consent", consent),
        ("faces", f"{len(faces)} used, {len(faces.left_out)} left out by you, {rejected} rejected"),
        ("pictures", f"{meta['pictures']} looked at"),
        ("face set", project.short(faces.path)),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(text))}</dd>" for name, text in facts)
    missing = [*describe_flaws(faces.flaws), *advise_pictures(faces)] if len(faces) else []
    advice = (
        "".join(f"<li>{escape(line)}</li>" for line in missing) or "<li>nothing: the pictures show all there is</li>"
    )
    return f'<dl class="facts">{listed}</dl><h3>What is missing</h3><ul class="advice">{advice}</ul>{_rejected(faces)}'


def grid(project: Project, faces: FaceSet, sort: str) -> list[dict[str, object]]:
    """Return what the grid shows of each face, the worst first.

    Args:
        project: It.
        faces: The person's.
        sort: One of `SORTS`.
    """
    rows = faces.describe_selected()
    order = sorted(rows, key=lambda row: getattr(row, sort if sort in SORTS else "number"))
    flaws = dict(zip(faces.kept.column("crop").to_pylist(), faces.flaws.tolist(), strict=True))
    return [
        {
            "number": row.number,
            "url": file_url(project, faces.path / CROPS / row.crop),
            "origin": row.origin,
            "out": row.crop in faces.left_out,
            "why": _why(row.crop in faces.left_out, flaws.get(row.crop)),
            "figures": _figures(row),
        }
        for row in order
    ]


def profile_rows(project: Project) -> list[list[object]]:
    """Return the cells of the table of profiles.

    Args:
        project: The project.
    """
    rows: list[list[object]] = []
    for path in project.profiles():
        known = read_json_object(path)
        parents = ", ".join(str(one.get("id", "")) for one in known.get("made_from", []) if isinstance(one, dict))
        rows.append(
            [
                path.stem,
                known.get("embedder", "damaged"),
                known.get("num_frames"),
                known.get("consent"),
                known.get("expires") or "no end",
                parents or "photos",
            ]
        )
    return rows


def _figures(row: SelectedFace) -> str:
    shape = f"sharpness {row.sharpness:.0f}, turned {-row.pose:.0f}°, {row.size:.0f} px"
    return f"{shape}, likeness {row.likeness:.2f}"


def _why(left_out: bool, flaws: list[str | None] | None) -> str:
    from facesmith.faces.geometry.topology import REGIONS

    if left_out:
        return "left out by you"
    hidden = [f"{region} {flaw}" for region, flaw in zip(REGIONS, flaws or [], strict=False) if flaw]
    return "; ".join(hidden)


def _rejected(faces: FaceSet) -> str:
    rejected = faces.table.to_pylist() if sum(faces.meta["rejected"].values()) else []
    rows = [(Path(row["source"]).name, row["time"], row["reason"]) for row in rejected if row["reason"]]
    counts = ", ".join(f"{count} {reason}" for reason, count in faces.meta["rejected"].items())
    if not rows:
        return ""
    table = draw_table(("file", "second", "reason"), rows[:_MOST_ROWS])
    return f"<details><summary>rejected by the limits: {escape(counts)}</summary>{table}</details>"


def _free_name(folder: Path, name: str) -> Path:
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{Path(name).stem}_{number}{Path(name).suffix}"
    return path
