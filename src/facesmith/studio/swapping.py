"""Renders of swaps: their command, their result beside the target, and the mark that it carries."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from facesmith.errors import UserError
from facesmith.studio.jobs import find_jobs
from facesmith.studio.media_checks import read_mark
from facesmith.studio.project import VIDEOS, Project
from facesmith.studio.runs import draw_medium
from facesmith.studio.swap_request import SwapRequest
from facesmith.studio.words import argument, command_line
from facesmith.studio.worker import TooSlowError, read_medium


def output_of(project: Project, request: SwapRequest, named: str) -> str:
    """Return where a swap is written.

    Args:
        project: It.
        request: The swap.
        named: As typed; "": by the names of target and model, beside no result that is there.

    Raises:
        UserError: It lies elsewhere.
    """
    target = Path(request.target.removeprefix("asset:"))
    if named.strip():
        return project.short(project.resolve(named, "output"))
    suffix = ".mp4" if target.suffix.lower() in VIDEOS else ".png"
    shown = "_".join(dict.fromkeys(Path(str(entry["model"])).stem for entry in request.cast or [vars(request)]))
    return f"swapped/{target.stem}_{shown[:80]}{suffix}"


def render_words(
    project: Project,
    request: SwapRequest,
    output: str,
    *,
    side_by_side: bool = False,
    resume: bool = False,
    preview: int = 0,
) -> list[str]:
    """Return the words of the command that renders a swap.

    Args:
        project: It.
        request: What the controls say.
        output: As typed.
        side_by_side: Whether the result shows target and swap.
        resume: Go on with a stopped one.
        preview: Draw a sheet of so many frames, in place of the result; 0: the result.

    Raises:
        UserError: The result would lie elsewhere.
    """
    place = output_of(project, request, output)
    words = [*request.words(), argument("source", request.target), argument("output", place)]
    words += ["side_by_side=true"] if side_by_side else []
    words += ["resume=true"] if resume else []
    words += [f"preview={int(preview)}"] if preview else []
    return [*words, *project.path_arguments()]


def result_of(words: Sequence[str]) -> str:
    """Return the file that a render writes.

    Args:
        words: Of its command.
    """
    given = dict(word.partition("=")[::2] for word in words)
    output = Path(given["output"].strip("'"))
    return str(output.with_name(f"{output.stem}_preview.jpg") if "preview" in given else output)


def describe_swap(words: Sequence[str]) -> str:
    """Return what a render is, for the queue.

    Args:
        words: Of its command.
    """
    given = dict(word.partition("=")[::2] for word in words)
    return f"{'sheet of a swap' if 'preview' in given else 'swap'} into {Path(given['source'].strip(chr(39))).name}"


def draw_result(project: Project, named: str) -> str:
    """Draw a result beside its target, where the job that made it is known.

    Args:
        project: It.
        named: The result's path.

    Raises:
        UserError: It lies elsewhere.
    """
    path = project.resolve(named, "result")
    target = _target_of(project, path)
    shown = [draw_medium(project, target, f"target: {target.name}")] if target is not None else []
    shown.append(draw_medium(project, path, f"swap: {path.name}"))
    return f'<div class="renders pair">{"".join(shown)}</div>'


def describe_mark(project: Project, named: str) -> str:
    """Draw what a file states of where it is from, and whether that holds.

    Args:
        project: It.
        named: The file's path.

    Raises:
        UserError: It lies elsewhere, or cannot be read.
    """
    path = project.resolve(project.existing(named, "file"), "file")
    lines = _read_mark(path, path.stat().st_mtime_ns)
    command = command_line(["provenance", "verify", project.short(path)])
    text = "\n".join([lines[0].removeprefix(f"{path}: "), *lines[1:]])
    return f'<pre class="mark">{escape(text)}</pre><code class="command">{escape(command)}</code>'


@lru_cache(64)
def _read_mark(path: Path, _changed: int) -> list[str]:
    """Verify a file once; the whole of it is read, and the page shows it again and again while jobs run."""
    try:
        return read_medium(read_mark, path)
    except TooSlowError as error:  # kept like an answer: the page would wait as long again
        return [f"{path.name}: {error}"]


def _target_of(project: Project, result: Path) -> Path | None:
    """Return the medium that a job swapped into, if it lies in the project."""
    for job in find_jobs(project):
        given = dict(word.partition("=")[::2] for word in job.words)
        if given.get("output", "").strip("'") == project.short(result):
            try:
                target = project.resolve(given.get("source", "").strip("'"), "source")
            except UserError:
                return None
            return target if target.is_file() else None
    return None
