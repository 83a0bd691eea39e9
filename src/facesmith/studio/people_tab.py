"""The tab of people: consent first, then pictures, then the faces that are used."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import gradio as gr

from facesmith.config.consent import CONSENT_KINDS
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.studio import jobs
from facesmith.studio.calls import QUIET, command_box, command_of, listed, refresh_button, reported
from facesmith.studio.people import (
    SORTS,
    consent_words,
    describe_person,
    extract_words,
    grid,
    keep_uploads,
    newest_set,
    toggle_face,
)
from facesmith.studio.profiles_part import ProfilesPart
from facesmith.studio.project import PICTURES, TARGETS, UPLOADS, VIDEOS, Project
from facesmith.studio.words import check_slug, command_line

_GRID_JS: Final = """
element.addEventListener("click", (event) => {
  const face = event.target.closest("[data-face]");
  if (face) trigger("toggle", { number: Number(face.dataset.face) });
});
"""
_WHERE: Final = "a file or a folder in this project; asset:single_face.mp4 is the demo's man"
_PROMISE: Final = "Uploads lie in a private folder of this project until you delete the person."


class PeopleTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
        largest: Size of the largest upload, in words.
    """

    def __init__(self, project: Project, largest: str) -> None:
        self._project, self._largest = project, largest

    def build(self) -> None:
        """Add the components of the tab and connect their events."""
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=4, min_width=360):
                gr.HTML("<h2>1 Who, and by what right</h2>")
                with gr.Row():
                    name = gr.Textbox(label="Name", info="lower-case letters, digits, - and _", elem_id="person_name")
                    consent = gr.Radio(list(CONSENT_KINDS), label="Consent", elem_id="person_consent")
                with gr.Row():
                    note = gr.Textbox(label="Note", info="who agreed to what, when", elem_id="person_note")
                    until = gr.Textbox(label="Until", info="last day, 2027-12-31; empty: no end")
                gr.HTML("<h2>2 Pictures</h2>")
                files = gr.File(
                    file_count="multiple",
                    file_types=[*PICTURES, *VIDEOS],
                    label=f"10 to 20 photos or a video, up to {self._largest} each",
                    interactive=False,
                    height=150,
                    elem_id="person_files",
                )
                shot = gr.Image(
                    sources=["webcam"],
                    type="filepath",
                    label="Or a shot of the webcam",
                    visible=False,
                    height=200,
                    elem_id="person_shot",
                )
                webcam = gr.Checkbox(label="Webcam", container=False, elem_id="person_webcam")
                source = gr.Textbox(label="Or where they are", info=_WHERE, elem_id="person_source")
                gr.HTML(f'<p class="quiet">{_PROMISE}</p>')
                gr.HTML("<h2>3 Faces</h2>")
                command = command_box(lines=2, elem_id="person_command")
                find = gr.Button("Find the faces", variant="primary", elem_id="person_extract")
                said = gr.HTML(elem_id="person_said")
            with gr.Column(scale=6, min_width=420):
                with gr.Row():
                    person = gr.Dropdown(self._project.people(), label="Person", elem_id="person")
                    sort = gr.Dropdown(
                        list(SORTS), value="number", label="Order", info="the worst first", elem_id="person_sort"
                    )
                faces = gr.HTML(js_on_load=_GRID_JS, elem_id="faces", apply_default_css=False)
                about = gr.HTML(elem_id="about_person")
                done = command_box("The command of the last click", elem_id="faces_command")
                lister, profiles = ProfilesPart(self._project).build()
        refresh = refresh_button("people")
        first: list[Any] = [name, consent, note, until, source]
        gr.on([name.change, consent.change], _may_upload, [name, consent], [files, shot], **QUIET)
        webcam.change(lambda on: gr.Image(visible=on), [webcam], [shot], **QUIET)
        gr.on([one.change for one in first], self._describe, first, [command], **QUIET)
        for given, keep in ((files, files.upload), (shot, shot.input)):
            kept = keep(reported(self._upload), [given, *first[:4]], [said, given], **QUIET)
            kept.then(self._describe, first, [command], **QUIET)
        find.click(reported(self._extract), first, [said, person], **QUIET)
        shown = [faces, about]
        gr.on([person.change, sort.change], reported(self._show), [person, sort], shown, **QUIET)
        refresh.click(self._refresh, [person, sort], [person, *shown], **QUIET)
        refresh.click(reported(lister), None, profiles, **QUIET)
        toggled: Any = faces.toggle

        def toggle(who: str, order: str, event: gr.EventData) -> list[str]:
            return reported(self._toggle)(who, order, int(event.number))

        toggled(toggle, [person, sort], [*shown, done], **QUIET)

    def _describe(self, name: str, consent: str, note: str, until: str, source: str) -> str:
        given = [name or "", source or "", consent or "", note or "", until or ""]
        return command_of(lambda: extract_words(self._project, *given))

    def _upload(self, files: list[str] | str | None, name: str, consent: str, note: str, until: str) -> tuple[str, Any]:
        consent_words(consent or "", note or "", until or "")
        folder = self._project.uploads(name or "")
        given = [files] if isinstance(files, str) else files or []
        kept, refused = keep_uploads(self._project, folder, given)
        count = "1 file is" if len(kept) == 1 else f"{len(kept)} files are"
        lines = [f"{count} kept in {self._project.short(folder)}"] if kept else []
        lines += [f"refused {line}" for line in refused]
        state = "failed" if refused else "quiet"
        return f'<p class="{state}" role="status">{"<br>".join(map(escape, lines))}</p>', None

    def _extract(self, name: str, consent: str, note: str, until: str, source: str) -> tuple[str, Any]:
        words = extract_words(self._project, name or "", source or "", consent or "", note or "", until or "")
        jobs.start(self._project, words, f"faces of {name}", "use")
        choices = sorted({*self._project.people(), name})
        return (
            '<p class="quiet" role="status">The faces are being found; the queue shows how far it is.</p>',
            gr.Dropdown(choices, value=name),
        )

    def _show(self, name: str | None, sort: str) -> list[str]:
        if not name:
            return ['<div class="empty">Choose a person, or find faces first.</div>', ""]
        try:
            faces = newest_set(self._project, check_slug(name, "name"))
        except UserError as error:
            return [f'<div class="empty">{escape(str(error))}</div>', ""]
        return [draw_grid(self._project, faces, sort), describe_person(self._project, faces)]

    def _refresh(self, name: str | None, sort: str) -> list[Any]:
        people = sorted({*self._project.people(), *filter(None, [name])})  # one whose faces are just being found too
        first = people[0] if people else None
        return [listed(people, name, first), *self._show(name or first, sort)]

    def _toggle(self, name: str, sort: str, number: int) -> list[str]:
        faces, words = toggle_face(self._project, name, number)
        return [
            draw_grid(self._project, faces, sort),
            describe_person(self._project, faces),
            command_line(words.split()),
        ]


def draw_grid(project: Project, faces: FaceSet, sort: str) -> str:
    """Draw every face as a button: used, or crossed out.

    Args:
        project: It.
        faces: The person's.
        sort: One of `SORTS`.
    """
    cells = []
    for face in grid(project, faces, sort):
        why, out = escape(str(face["why"])), bool(face["out"])
        state = "out" if out else "flawed" if why else ""
        title = escape(f"{face['origin']}: {face['figures']}{f'; {why}' if why else ''}")
        action = "take back" if out else "leave out"
        cells.append(
            f'<button class="face {state}" data-face="{face["number"]}" title="{title}" '
            f'aria-pressed="{str(out).lower()}">'
            f'<img loading="lazy" src="{face["url"]}" alt="{action}, {escape(str(face["origin"]))}: face">'
            f"<b>{face['number']}</b><small>{why}</small></button>"
        )
    hint = "Click a face to leave it out, again to take it back. Trainings and profiles honour it."
    return f'<p class="quiet">{hint}</p><div class="faces">{"".join(cells)}</div>'


def _may_upload(name: str, consent: str | None) -> list[Any]:
    """Let pictures in once it is said whose they are and by what right."""
    try:
        check_slug(name or "", "name")
    except UserError:
        consent = None
    return [gr.File(interactive=bool(consent)), gr.Image(interactive=bool(consent))]


def upload_to(project: Project, files: Sequence[object], name: str) -> list[str]:
    """Keep uploads for the endpoint; return the paths of those that were kept.

    Args:
        project: It.
        files: Where the server put them: what it answered to the upload, or what `gradio_client.handle_file` gives.
        name: The person's; "" for targets of swaps.

    Raises:
        UserError: One is no upload, or none of them can be used.
    """
    scratch = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    paths = []
    for file in files:
        path = file.get("path") if isinstance(file, dict) else file
        if not (isinstance(path, str) and Path(path).resolve().is_relative_to(scratch)):
            raise UserError(f"files={str(path)[:80]}: is no upload; send it to /gradio_api/upload first")
        paths.append(path)
    folder = project.uploads(name) if name else project.root / UPLOADS / TARGETS
    kept, refused = keep_uploads(project, folder, paths)
    if not kept:
        raise UserError("; ".join(refused) or "files: none was given")
    return [project.short(path) for path in kept]
