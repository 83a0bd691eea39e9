"""Identity profiles and the deletion of a person: command lines, and what a deletion would remove."""

import shutil
from datetime import date
from html import escape
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.studio.drawing import draw_table
from facesmith.studio.project import Project
from facesmith.studio.training import compose
from facesmith.studio.words import argument, check_slug, quote_value

_MOST: Final = 200


def blend_words(project: Project, profiles: list[str], weights: str, name: str) -> list[str]:
    """Return the command's words that blend profiles.

    Args:
        project: It.
        profiles: Names of two or more.
        weights: As `0.7 0.3`; "" for equal ones.
        name: Of the new identity.

    Raises:
        UserError: A field cannot be used.
    """
    if len(profiles or []) < 2:
        raise UserError("profiles: choose two or more")
    words = ["infer", "task=blend", f"source={_sources(project, profiles)}", f"task.name={check_slug(name, 'name')}"]
    if weights.strip():
        try:
            numbers = [float(word) for word in weights.replace(",", " ").split()]
        except ValueError:
            raise UserError(f"weights={weights[:40]}: write one number for each profile, such as 0.7 0.3") from None
        words.append(argument("task.weights", numbers))
    return [*words, *project.path_arguments()]


def interpolate_words(project: Project, profiles: list[str], t: float, name: str) -> list[str]:
    """Return the command's words that interpolate between two profiles.

    Args:
        project: It.
        profiles: Names of two.
        t: 0 for the first, 1 for the second.
        name: Of the new identity.

    Raises:
        UserError: A field cannot be used.
    """
    if len(profiles or []) != 2:
        raise UserError("profiles: choose two, the first and the second")
    named = [f"task.t={float(t):g}", f"task.name={check_slug(name, 'name')}"]
    return ["infer", "task=interpolate", f"source={_sources(project, profiles)}", *named, *project.path_arguments()]


def list_traces(project: Project, name: str) -> str:
    """Draw everything that was made from a person's pictures.

    Args:
        project: It.
        name: The person's.

    Raises:
        UserError: The name is none.
    """
    from facesmith.purge.find import (  # imports a decoder, which the page needs for nothing else
        PurgeConfig,
        find_traces,
    )

    check_slug(name, "name")
    given = compose("purge", PurgeConfig, project.path_arguments(), keep=tuple(PurgeConfig.model_fields))
    traces = find_traces(given, name)
    rows: list[list[object]] = [
        [one.kind, project.short(one.files[0]), one.why, one.shared_with] for one in traces[:_MOST]
    ]
    uploads = project.uploads(name)
    if uploads.is_dir():
        rows.append(
            ["uploads", project.short(uploads), f"{sum(1 for _ in uploads.iterdir())} files you uploaded here", ""]
        )
    if not rows:
        return f'<div class="empty">Nothing of {escape(name)} was found.</div>'
    return draw_table(("what", "where", "why", "also of"), rows, f"What a deletion of {name} removes")


def purge_words(project: Project, name: str) -> list[str]:
    """Return the command's words that remove everything of a person.

    Args:
        project: The project.
        name: The person's name.

    Raises:
        UserError: The name is none.
    """
    return ["purge", f"name={check_slug(name, 'name')}", "yes=true", *project.path_arguments()]


def remove_uploads(project: Project, name: str) -> int:
    """Remove a person's uploads; return how many files they were.

    Args:
        project: It.
        name: The person's.
    """
    folder = project.uploads(name)
    if not folder.is_dir() or folder.is_symlink():
        return 0
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return count


def draw_retention(project: Project) -> str:
    """Draw which consents have an end, and which of them have run out by today.

    Args:
        project: The project.
    """
    from facesmith.purge.face_sets import expiries

    paths = project.paths
    roots = [project.root / folder for folder in (paths.face_sets, paths.profiles, paths.runs)]
    found = sorted(expiries(*roots), key=lambda one: (one.expires, one.identity))
    if not found:
        return '<p class="quiet">No consent here has an end.</p>'
    today = date.today()
    rows: list[list[object]] = [
        [one.identity, one.expires, "has run out" if one.expires < today else "holds", project.short(one.where)]
        for one in found
    ]
    return draw_table(("person", "until", "today", "where"), rows, "Consents that have an end")


def _sources(project: Project, names: list[str]) -> str:
    known: dict[str, Any] = {path.stem: path for path in project.profiles()}
    for name in names:
        if name not in known:
            raise UserError(f"profile={str(name)[:60]}: there is no such profile")
    return quote_value([project.short(known[name]) for name in names])
