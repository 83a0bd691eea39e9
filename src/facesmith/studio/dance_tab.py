"""The tab of dances: a trained person, steered by pose videos."""

from html import escape
from pathlib import Path
from typing import Any, Final

import gradio as gr

from facesmith.errors import UserError
from facesmith.studio import jobs
from facesmith.studio.calls import QUIET, command_box, command_of, listed, refresh_button, reported
from facesmith.studio.dances import FIELDS, dance_words, draw_dances
from facesmith.studio.project import Project
from facesmith.studio.words import command_line

_SCALES: Final = (
    ("face_scale", "Face", 0.0, 3.0, 1.0, "0.25 subtle, 1.5 strong"),
    ("lora_scale", "LoRA", 0.0, 2.0, 1.0, "how much of what was learnt"),
    ("vace_scale", "Poses", 0.0, 2.0, 1.0, "how closely they are followed; strong weakens the likeness"),
    ("cfg_scale", "Guidance", 1.0, 15.0, 5.0, "how closely the prompt is followed"),
)


class DanceTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def build(self) -> None:
        """Add the components of the tab and connect their events."""
        one: dict[str, Any] = {}
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=4, min_width=340):
                info = "exports of a run of video_lora"
                one["model"] = gr.Dropdown(
                    [], allow_custom_value=True, label="Dancer", info=info, elem_id="dance_model"
                )
                one["source"] = gr.Textbox(
                    label="Pose videos", info="a file or a folder of this project", elem_id="dance_source"
                )
                one["prompt"] = gr.Textbox(label="Prompt", info="empty: that of the training", lines=2)
                for name, label, low, high, usual, text in _SCALES:
                    one[name] = gr.Slider(low, high, usual, step=0.05, label=label, info=text)
                with gr.Row():
                    one["seeds"] = gr.Textbox("42", label="Seeds", info="one video each: 42 43 44", min_width=100)
                    one["steps"] = gr.Number(50, label="Steps", info="of each", precision=0, minimum=1, min_width=100)
                    one["num_frames"] = gr.Number(
                        65, label="Frames", info="4n + 1", precision=0, minimum=1, min_width=100
                    )
                one["output"] = gr.Textbox("dances", label="Folder of the results", elem_id="dance_output")
                command = command_box(lines=2)
                start = gr.Button("Generate", variant="primary", elem_id="dance_start")
            with gr.Column(scale=6, min_width=420):
                sheet = gr.HTML(elem_id="dance_sheet")
        fields = [one[name] for name in FIELDS]
        refresh = refresh_button("dance")
        gr.on([part.change for part in fields], self._describe, fields, [command], **QUIET)
        start.click(reported(self._start), fields, [command], **QUIET)
        refresh.click(self._refresh, [one["model"], one["output"]], [one["model"], sheet], **QUIET)

    def _describe(self, *values: Any) -> str:
        return command_of(lambda: dance_words(self._project, dict(zip(FIELDS, values, strict=True))))

    def _start(self, *values: Any) -> str:
        fields = dict(zip(FIELDS, values, strict=True))
        words = dance_words(self._project, fields)
        jobs.start(self._project, words, f"dances by {Path(str(fields['model'])).parent.parent.name}", "train")
        gr.Info("The dances are in the queue.")
        return command_line(words)

    def _refresh(self, model: str | None, output: str) -> list[Any]:
        found = [self._project.short(path) for path in self._project.dancers()]
        chosen = listed(found, model, found[0] if found else None)
        try:
            return [chosen, draw_dances(self._project, output or "dances")]
        except UserError as error:
            return [chosen, f'<p class="failed" role="alert">{escape(str(error))}</p>']
