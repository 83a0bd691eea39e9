"""The tab of swaps: choose, look at one frame, render, check the mark."""

from html import escape
from typing import Any, Final

import gradio as gr

from facesmith.errors import UserError
from facesmith.studio import jobs
from facesmith.studio.calls import PRIVATE, QUIET, command_box, command_of, listed, refresh_button, reported
from facesmith.studio.people import keep_uploads
from facesmith.studio.preview import LIMIT, draw
from facesmith.studio.project import PICTURES, TARGETS, UPLOADS, VIDEOS, Project
from facesmith.studio.swap_request import FIELDS, add_to_cast, read_request
from facesmith.studio.swapping import describe_mark, describe_swap, draw_result, render_words, result_of
from facesmith.studio.words import command_line
from facesmith.studio.worker import Worker

_MASKS: Final = ("box", "occlusion", "hull", "region")
_REGIONS: Final = ("mouth", "eyes", "brows", "nose", "skin", "upper_face", "lower_face")
_OCCLUDER: Final = "asset:occluder_general.onnx"
_HINT: Final = "The first picture takes some seconds, for the networks are loaded; then it redraws at once."


class SwapTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
        worker: Draws the frame.
        largest: Size of the largest upload, in words.
    """

    def __init__(self, project: Project, worker: Worker, largest: str) -> None:
        self._project, self._worker, self._largest = project, worker, largest

    def build(self) -> None:
        """Add the components of the tab and connect their events."""
        one: dict[str, Any] = {}
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=4, min_width=340):
                one["model"] = gr.Dropdown(
                    [], label="Model", info="found in runs, exports and models", elem_id="swap_model"
                )
                one["target"] = gr.Dropdown(
                    [],
                    allow_custom_value=True,
                    label="Target",
                    info="a picture or a film of this project",
                    elem_id="swap_target",
                )
                upload = gr.File(
                    file_types=[*PICTURES, *VIDEOS],
                    label=f"Or upload one, up to {self._largest}",
                    height=110,
                    elem_id="swap_upload",
                )
                said = gr.HTML()
                with gr.Row():
                    one["select"] = gr.Dropdown(
                        ["largest", "all", "0", "1", "2", "3"],
                        value="largest",
                        allow_custom_value=True,
                        label="Faces",
                        info="numbers count from the left; or a profile or photo of who is replaced",
                        elem_id="swap_select",
                    )
                    one["profile"] = gr.Dropdown([""], value="", label="Profile", info="for models of any identity")
                one["masks"] = gr.CheckboxGroup(
                    list(_MASKS), value=["box", "occlusion"], label="Masks", elem_id="swap_masks"
                )
                one["mask_blur"] = gr.Slider(0, 1, 0.3, step=0.05, label="Soft edge of the box")
                one["regions"] = gr.CheckboxGroup(list(_REGIONS), value=["mouth"], label="Regions", visible=False)
                with gr.Row():
                    one["blend"] = gr.Dropdown(
                        ["linear", "poisson", "multiband"], value="linear", label="Blend", elem_id="swap_blend"
                    )
                    one["pixel_boost"] = gr.Dropdown(
                        [("model's own", 0), ("256", 256), ("512", 512), ("1024", 1024)], value=0, label="Boost, px"
                    )
                one["colour_match"] = gr.Checkbox(label="Match the skin's colour")
                with gr.Row():
                    one["adapter"] = gr.Dropdown([""], value="", label="Scene adapter")
                    one["adapter_scale"] = gr.Slider(0, 2, 1, step=0.1, label="Its strength")
                one["occluder"] = gr.Dropdown([_OCCLUDER], value=_OCCLUDER, allow_custom_value=True, label="Occluder")
                with gr.Row():
                    one["enhancer"] = gr.Dropdown(
                        [""],
                        value="",
                        allow_custom_value=True,
                        label="Enhancer",
                        info="a face restoration .onnx, such as GFPGAN",
                        elem_id="swap_enhancer",
                    )
                    one["enhancer_blend"] = gr.Slider(0, 1, 0.8, step=0.05, label="Its share")
                with gr.Accordion("Several people: a cast", open=False, elem_id="swap_people"):
                    one["cast"] = gr.Textbox(
                        label="Cast",
                        info="whose face goes where, one a line; it takes the place of model and faces above",
                        lines=3,
                        elem_id="swap_cast",
                    )
                    add = gr.Button("Add the model for the faces chosen above", size="sm", elem_id="swap_cast_add")
            with gr.Column(scale=6, min_width=420):
                one["position"] = gr.Slider(0, 1, 0.3, step=0.005, label="Where in the film", elem_id="swap_position")
                picture = gr.ImageSlider(
                    label="Before and after", type="numpy", buttons=["fullscreen"], elem_id="swap_preview", height=430
                )
                told = gr.HTML(f'<p class="quiet">{_HINT}</p>', elem_id="swap_told")
                show = gr.Button("Show this frame", elem_id="swap_show")
                output = gr.Textbox(label="Result", info="empty: swapped/<target>_<model>", elem_id="swap_output")
                beside = gr.Checkbox(label="Target and swap side by side in one film")
                command = command_box(lines=2, elem_id="swap_command")
                with gr.Row(elem_classes="actions"):
                    render = gr.Button("Render", variant="primary", elem_id="swap_render")
                    sheet = gr.Button("Sheet of 8 frames", size="sm", elem_id="swap_sheet")
                    resume = gr.Button("Go on with a stopped one", size="sm", elem_id="swap_resume")
                result = gr.Dropdown([], label="Results", allow_custom_value=True, elem_id="swap_results")
                player = gr.HTML(elem_id="swap_player")
        controls = [one[name] for name in FIELDS]
        refresh = refresh_button("swap")
        redraw: dict[str, Any] = {"trigger_mode": "always_last", "concurrency_id": "preview", "concurrency_limit": 1}
        upload.upload(reported(self._upload), [upload], [said, one["target"], upload], **QUIET)
        one["masks"].change(_show_regions, [one["masks"]], [one["regions"]], **QUIET)
        show.click(reported(self._draw), controls, [picture, told], api_visibility=PRIVATE, concurrency_id="preview")
        add.click(reported(self._add_to_cast), controls, [one["cast"]], **QUIET)
        for part in controls:
            moved = part.change if part is one["cast"] else getattr(part, "release", part.input)
            moved(reported(self._redraw), controls, [picture, told], **QUIET, **redraw)
        written = [*controls, output, beside]
        gr.on([part.change for part in written], self._describe, written, [command], **QUIET)
        render.click(reported(self._render), written, [command, result], **QUIET)
        resume.click(reported(self._resume), written, [command, result], **QUIET)
        sheet.click(reported(self._sheet), written, [command, result], **QUIET)
        result.change(reported(self._show), [result], [player], **QUIET)
        found = ("model", "target", "profile", "adapter", "occluder", "enhancer")
        lists = [*(one[name] for name in found), result, player]
        refresh.click(self._refresh, [one["model"], one["target"], result], lists, **QUIET)

    def _upload(self, file: str | None) -> tuple[str, Any, Any]:
        kept, refused = keep_uploads(self._project, self._project.root / UPLOADS / TARGETS, [file] if file else [])
        if refused:
            raise UserError("; ".join(refused))
        place = self._project.short(kept[0])
        return f'<p class="quiet">kept as {escape(place)}</p>', gr.Dropdown(self._targets(), value=place), None

    def _targets(self) -> list[str]:
        return [*(self._project.short(path) for path in self._project.media()), *_DEMO]

    def _draw(self, *values: Any) -> tuple[Any, str]:
        request = read_request(self._project, dict(zip(FIELDS, values, strict=True)))
        drawn = self._worker.call(LIMIT, draw, request)
        if not drawn.faces:
            told = "no face was found in this frame; move along the film"
        elif not drawn.swapped:
            told = f"{drawn.faces} faces, none of them is chosen"
        else:
            told = f"{drawn.swapped} of {drawn.faces} faces swapped in {drawn.seconds:.2f} s"
        return (drawn.before, drawn.after), f'<p class="quiet" role="status">{escape(told)}</p>'

    def _redraw(self, *values: Any) -> tuple[Any, str]:
        """Draw again after a control was moved, once a target and a model or a cast are chosen."""
        given = dict(zip(FIELDS, values, strict=True))
        if not given["target"] or not (given["model"] or given["cast"]):
            return gr.skip(), gr.skip()
        return self._draw(*values)

    def _add_to_cast(self, *values: Any) -> str:
        given = dict(zip(FIELDS, values, strict=True))
        return add_to_cast(given["cast"] or "", read_request(self._project, {**given, "cast": None}))

    def _words(self, values: tuple[Any, ...], **how: Any) -> list[str]:
        *controls, output, beside = values
        request = read_request(self._project, dict(zip(FIELDS, controls, strict=True)))
        return render_words(self._project, request, output or "", side_by_side=bool(beside), **how)

    def _describe(self, *values: Any) -> str:
        return command_of(lambda: self._words(values))

    def _resume(self, *values: Any) -> tuple[str, Any]:
        return self._render(*values, resume=True)

    def _sheet(self, *values: Any) -> tuple[str, Any]:
        return self._render(*values, preview=8)

    def _render(self, *values: Any, **how: Any) -> tuple[str, Any]:
        words = self._words(values, **how)
        job = jobs.start(self._project, words, describe_swap(words), "use")
        gr.Info(f"{escape(job.title)}: is in the queue.")
        return command_line(words), gr.Dropdown(value=result_of(words))

    def _show(self, named: str | None) -> str:
        if not named:
            return ""
        if not self._project.resolve(named, "result").is_file():
            return f'<div class="empty">{escape(named)} is not there yet; the queue shows how far it is.</div>'
        return draw_result(self._project, named) + describe_mark(self._project, named)

    def _refresh(self, model: str | None, target: str | None, result: str | None) -> list[Any]:
        project = self._project
        models = [project.short(path) for path in project.models()]
        results = [project.short(path) for path in project.results()]
        profiles = ["", *(project.short(path) for path in project.profiles())]
        adapters = ["", *(project.short(path) for path in project.adapters())]
        occluders = [_OCCLUDER, *(project.short(path) for path in project.occluders()), ""]
        enhancers = ["", *(name for name in models if name.startswith("models/"))]
        chosen = result or (results[0] if results else None)
        return [
            listed(models, model if model in models else None, models[0] if models else None),
            listed(self._targets(), target, None),
            gr.Dropdown(profiles),
            gr.Dropdown(adapters),
            gr.Dropdown(occluders),
            gr.Dropdown(enhancers),
            listed(results, result, chosen),
            self._show(chosen),
        ]


def _show_regions(masks: list[str]) -> Any:
    return gr.CheckboxGroup(visible="region" in masks)


_DEMO: Final = ("asset:astronaut.png", "asset:carphone_pristine.mp4")
