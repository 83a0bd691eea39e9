"""The tab on which runs are compared."""

from html import escape
from typing import Any

import gradio as gr

from facesmith.errors import UserError
from facesmith.studio.calls import QUIET, command_box, refresh_button, reported
from facesmith.studio.comparing import (
    MOST,
    describe_wandb,
    draw_comparison,
    draw_ranking,
    draw_reports,
    draw_runs,
)
from facesmith.studio.project import Project
from facesmith.studio.runs import describe_runs, list_runs
from facesmith.studio.words import command_line


class CompareTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def build(self) -> None:
        """Add the components of the tab and connect their events."""
        with gr.Row(elem_classes="actions"):
            usual = str(self._project.paths.runs)
            folder = gr.Textbox(usual, label="Folder", info="all runs below it; of a sweep: its ranking", scale=2)
            info = f"up to {MOST} are drawn together"
            chosen = gr.Dropdown(
                [], multiselect=True, max_choices=MOST, label="Runs", info=info, scale=4, elem_id="compare_runs"
            )
        command = command_box()
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=5, min_width=380):
                curves = gr.HTML(elem_id="compare_curves")
            with gr.Column(scale=5, min_width=380):
                pictures = gr.HTML(elem_id="compare_pictures")
        differences = gr.HTML(elem_id="compare_differences")
        table, ranking = gr.HTML(elem_id="compare_table"), gr.HTML(elem_id="compare_ranking")
        reports = gr.HTML()
        refresh = refresh_button("compare")
        lists = [chosen, table, ranking, reports, command]
        gr.on([folder.submit, folder.blur, refresh.click], self._list, [folder, chosen], lists, **QUIET)
        chosen.change(reported(self._compare), [chosen], [curves, pictures, differences], **QUIET)

    def _list(self, folder: str, chosen: list[str] | None) -> list[Any]:
        project = self._project
        try:
            runs = list_runs(project, folder or "")
        except UserError as error:
            return [gr.skip(), f'<p class="failed" role="alert">{escape(str(error))}</p>', "", "", ""]
        choices = describe_runs(project, runs)
        known = [value for _, value in choices]
        kept = [one for one in chosen or [] if one in known] or known[:2]
        command = command_line(["sweep", "leaderboard", folder or str(project.paths.runs)])
        reports = draw_reports(project) + describe_wandb(runs)
        table, ranking = draw_runs(project, folder or ""), draw_ranking(project, folder or "")
        return [gr.Dropdown(choices, value=kept), table, ranking, reports, command]

    def _compare(self, chosen: list[str] | None) -> list[str]:
        return list(draw_comparison(self._project, chosen)) if chosen else ["", "", ""]
