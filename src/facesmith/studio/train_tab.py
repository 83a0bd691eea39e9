"""The tab on which models are trained."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from facesmith import assets
from facesmith.assets.catalog import ASSETS
from facesmith.errors import UserError
from facesmith.studio import jobs
from facesmith.studio.calls import QUIET, command_box, command_of, listed, refresh_button, reported
from facesmith.studio.job_cards import stop_run
from facesmith.studio.project import Project, read_meta
from facesmith.studio.runs import LiveRun, describe_runs, list_runs, open_run
from facesmith.studio.train_form import Form, build_form, read_form, vary
from facesmith.studio.training import TrainingForm, check, estimate
from facesmith.studio.words import argument, command_line
from facesmith.sweep.runs import Run

_NO_RUN = '<div class="empty">No run is chosen. Start a training, or choose one above.</div>'


class TrainTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def build(self) -> None:
        """Add the components of the tab and connect their events."""
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=4, min_width=360):
                form = build_form(self._project.people())
                command = command_box(lines=3, elem_id="train_command")
                told = gr.HTML(elem_id="train_estimate")
                start = gr.Button("Start the training", variant="primary", elem_id="train_start")
            with gr.Column(scale=5, min_width=380):
                run = gr.Dropdown([], label="Run", info="the newest first, whoever started it", elem_id="train_run")
                head = gr.HTML(elem_classes="live", elem_id="run_head")
                with gr.Row(elem_classes="actions"):
                    stop = gr.Button("Stop (saves first)", size="sm", elem_id="run_stop")
                    go_on = gr.Button("Go on", size="sm", elem_id="run_resume")
                    extend = gr.Button("Extend by ... epochs", size="sm", elem_id="run_extend")
                    more = gr.Number(10, label="epochs", precision=0, minimum=1, min_width=80, elem_id="run_more")
                done = command_box(elem_id="resume_command")
                names = ("curves", "renders", "figures")
                parts: list[gr.components.Component] = [head]
                parts += [gr.HTML(elem_classes="live", elem_id=f"run_{name}") for name in names]
                parts += [stop, go_on, extend]
        refresh = refresh_button("train")
        self._connect_form(form, [command, told])
        start.click(reported(self._start), form.all, [command, run], **QUIET)
        run.change(reported(self._show), [run], parts, **QUIET)
        refresh.click(self._refresh, [run], [run, *parts], **QUIET)
        stop.click(reported(self._stop), [run], [done], **QUIET)
        go_on.click(reported(lambda folder: self._resume(folder, None)), [run], [done], **QUIET)
        extend.click(reported(self._resume), [run, more], [done], **QUIET)

    def _connect_form(self, form: Form, told: list[Any]) -> None:
        named = form.by_name
        named["type"].input(vary, [named["type"]], form.varied, **QUIET)
        about = [named[name] for name in ("source", "consent", "note", "until")]
        named["name"].change(self._known_person, [named["name"]], about, **QUIET)
        gr.on([one.change for one in form.all], self._describe, form.all, told, **QUIET)
        context = gr.context.Context.root_block
        assert context is not None
        context.load(self._known_person, [named["name"]], about, **QUIET)

    def _describe(self, *values: Any) -> tuple[str, str]:
        form = read_form(values)
        told = escape(estimate(self._project, form.type, form.epochs))
        return command_of(lambda: form.words(self._project)), f'<div class="quiet">{told}</div>'

    def _start(self, *values: Any) -> tuple[str, Any]:
        job = start_training(self._project, read_form(values))
        gr.Info("The training is in the queue.")
        return job.command, gr.Dropdown(value=None)  # the run that begins is shown

    def _known_person(self, name: str) -> list[Any]:
        try:
            found = self._project.face_sets(name) if name else []
        except UserError:
            found = []
        if not found:
            return [gr.skip()] * 4
        meta = read_meta(found[0])
        stated = [meta.get(key) or "" for key in ("consent", "consent_note", "expires")]
        return [source_of(self._project, name), *stated]

    def _show(self, folder: str | None) -> list[Any]:
        if not folder:
            return [_NO_RUN, "", "", "", *_buttons(None)]
        run = open_run(self._project, folder)
        return [*LiveRun(self._project, run).draw(), *_buttons(run)]

    def _refresh(self, folder: str | None) -> list[Any]:
        runs = list_runs(self._project)
        choices = describe_runs(self._project, runs)
        running = next((self._project.short(run.folder) for run in runs if run.status == "running"), None)
        begins = any(job.is_live and job.description.get("lane") == "train" for job in jobs.find_jobs(self._project))
        first = running or (choices[0][1] if choices and not begins else None)  # the run that begins is shown next
        if folder and folder not in [value for _, value in choices]:
            choices.append((f"{folder}  (gone)", folder))
        try:
            parts = self._show(folder or first)
        except UserError as error:
            parts = [f'<p class="failed" role="alert">{escape(str(error))}</p>', "", "", "", *_buttons(None)]
        return [listed(choices, folder, first), *parts]

    def _stop(self, folder: str) -> str:
        gr.Info(escape(stop_run(open_run(self._project, folder or ""))))
        return ""

    def _resume(self, folder: str, more: float | None) -> str:
        words = resume_words(self._project, folder or "", more)
        jobs.start(self._project, words, f"training of {folder} goes on", "train")
        return command_line(words)


def _buttons(run: Run | None) -> list[Any]:
    """Return what of stop, go on and extend a run lets one do."""
    running = run is not None and run.status == "running"
    rests = run is not None and not running
    stopped = run is not None and run.status not in ("running", "completed")
    label = f"Resume from epoch {run.epochs}" if run is not None and stopped else "Go on"
    return [gr.Button(interactive=running), gr.Button(label, interactive=stopped), gr.Button(interactive=rests)]


def start_training(project: Project, form: TrainingForm) -> jobs.Job:
    """Start a training as a job of the queue.

    Args:
        project: It runs in.
        form: The fields.

    Raises:
        UserError: A field is refused, or the same training waits or runs already.
    """
    words = check(project, form)
    return jobs.start(project, words, f"training {form.type} of {form.name or 'the demo'}", "train")


def resume_words(project: Project, folder: str, more: float | None) -> list[str]:
    """Return the words that continue a run, for so many epochs more.

    Args:
        project: Whose run it is.
        folder: Of the run.
        more: None: as many as were planned.

    Raises:
        UserError: It runs, or is gone.
    """
    run = open_run(project, folder)
    if run.status == "running":
        raise UserError(f"{folder}: runs already")
    words = ["train", argument("resume", project.short(run.folder))]
    if more is None:
        return words
    if run.planned_epochs is None and not run.settings:
        raise UserError(f"{folder}: its record cannot be read, so it cannot be extended")
    return [*words, f"trainer.max_epochs={(run.planned_epochs or 0) + int(more)}"]


def source_of(project: Project, name: str) -> str:
    """Return where a person's pictures are: their uploads, or the one medium their face set is of.

    Args:
        project: It.
        name: The person's.
    """
    uploads = project.uploads(name)
    if uploads.is_dir() and any(uploads.iterdir()):
        return project.short(uploads)
    jobs_of = [job for job in jobs.find_jobs(project) if job.words[:3] == ["faces", name, "extract"]]
    for job in jobs_of:
        for word in job.words:
            if word.startswith("data.source="):
                return word.removeprefix("data.source=").strip("'")
    sources = read_meta(project.face_sets(name)[0]).get("sources", []) if project.face_sets(name) else []
    paths = [Path(str(one.get("path", ""))) for one in sources if isinstance(one, dict)]
    if len(paths) != 1:
        return ""
    known = assets.find(paths[0].name) if paths[0].name in ASSETS else None
    return f"asset:{paths[0].name}" if known is not None and known[0] == paths[0] else str(paths[0])
