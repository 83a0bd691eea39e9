"""Profiles and deletion, below the faces of the tab of people."""

from html import escape
from typing import Any

import gradio as gr

from facesmith.errors import UserError
from facesmith.studio import jobs
from facesmith.studio.calls import QUIET, command_box, reported
from facesmith.studio.drawing import draw_table
from facesmith.studio.job_cards import describe_job
from facesmith.studio.people import profile_rows
from facesmith.studio.profiles import (
    blend_words,
    draw_retention,
    interpolate_words,
    list_traces,
    purge_words,
    remove_uploads,
)
from facesmith.studio.project import Project
from facesmith.studio.words import command_line

_HEAD = ("profile", "recogniser", "faces", "consent", "until", "made from")


class ProfilesPart:
    """Its components and what they do.

    Args:
        project: It works in this folder.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def build(self) -> tuple[Any, list[Any]]:
        """Add the components of the part and connect their events.

        Returns:
            What lists profiles and consents anew, and the components that take its results.
        """
        project = self._project
        with gr.Accordion("Profiles: blend, interpolate", open=False, elem_id="profiles"):
            table = gr.HTML()
            with gr.Row():
                profiles = gr.Dropdown([], multiselect=True, label="Profiles", elem_id="profiles_chosen")
                name = gr.Textbox(label="Name of the new one", elem_id="profiles_name")
            with gr.Row():
                weights = gr.Textbox(label="Weights", info="as 0.7 0.3; empty: equal", elem_id="profiles_weights")
                t = gr.Slider(0, 1, 0.5, step=0.05, label="Between the first and the second")
            with gr.Row(elem_classes="actions"):
                blend, interpolate = gr.Button("Blend", size="sm"), gr.Button("Interpolate", size="sm")
            done = command_box()
        with gr.Accordion("Retention and deletion", open=False, elem_id="deletion"):
            retention = gr.HTML()
            with gr.Row(elem_classes="actions"):
                who = gr.Textbox(label="Person", info="type the name", elem_id="purge_name")
                listed, purge = gr.Button("List", size="sm"), gr.Button("Delete for good", size="sm", variant="stop")
            traces = gr.HTML(elem_id="purge_list")
            sure = gr.Textbox(label="To delete, type the name again", elem_id="purge_sure")
            removed = command_box()
        blend.click(reported(self._blend), [profiles, weights, name], [done], **QUIET)
        interpolate.click(reported(self._interpolate), [profiles, t, name], [done], **QUIET)
        listed.click(reported(lambda name: list_traces(project, name or "")), [who], [traces], **QUIET)
        purge.click(reported(self._purge), [who, sure], [removed, traces], **QUIET)
        return self._list, [table, profiles, retention]

    def _list(self) -> list[Any]:
        rows = profile_rows(self._project)
        names = [path.stem for path in self._project.profiles()]
        return [draw_table(_HEAD, rows, "Profiles"), gr.Dropdown(names), draw_retention(self._project)]

    def _blend(self, profiles: list[str], weights: str, name: str) -> str:
        words = blend_words(self._project, profiles, weights or "", name or "")
        jobs.start(self._project, words, f"blend {name}", "use")
        return command_line(words)

    def _interpolate(self, profiles: list[str], t: float, name: str) -> str:
        words = interpolate_words(self._project, profiles, t, name or "")
        jobs.start(self._project, words, f"interpolation {name}", "use")
        return command_line(words)

    def _purge(self, name: str, sure: str) -> tuple[str, str]:
        job, count = delete_person(self._project, name, sure)
        more = f" && rm -r uploads/{name}" if count else ""
        return f"{job['command']}{more}", f'<p class="quiet">{count} uploads of {escape(name)} were removed.</p>'


def delete_person(project: Project, name: str, again: str) -> tuple[dict[str, Any], int]:
    """Start the deletion of a person, and remove their uploads.

    Args:
        project: It.
        name: The person's.
        again: The name once more.

    Returns:
        The job, and how many uploads were removed.

    Raises:
        UserError: The names differ.
    """
    if not name or again != name:
        raise UserError(f"deletion: type {name or 'the name'} again, to be sure")
    job = jobs.start(project, purge_words(project, name), f"deletion of {name}", "use")
    return describe_job(job), remove_uploads(project, name)
