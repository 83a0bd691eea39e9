"""The whole page: its head, its tabs, its style and its script."""

from html import escape
from pathlib import Path
from typing import Any, Final

import gradio as gr
from fastapi import FastAPI

from facesmith.annotate.page import Painter, page_css, page_scripts
from facesmith.errors import format_bytes
from facesmith.studio import jobs
from facesmith.studio.calls import PRIVATE, QUIET, refresh_button, reported
from facesmith.studio.compare_tab import CompareTab
from facesmith.studio.dance_tab import DanceTab
from facesmith.studio.endpoints import add_endpoints
from facesmith.studio.files import add_files
from facesmith.studio.job_cards import draw_jobs
from facesmith.studio.masks_tab import MasksTab, add_crops
from facesmith.studio.people_tab import PeopleTab
from facesmith.studio.preview import IDLE
from facesmith.studio.project import Project
from facesmith.studio.pulse import add_pulse
from facesmith.studio.server import MAX_UPLOAD, Page
from facesmith.studio.swap_tab import SwapTab
from facesmith.studio.train_tab import TrainTab
from facesmith.studio.worker import Worker

_HERE: Final = Path(__file__).parent
_QUEUE_JS: Final = """
element.addEventListener("click", (event) => {
  const stop = event.target.closest("[data-stop]");
  if (stop) trigger("stop", { id: stop.dataset.stop });
});
"""


def make_page(
    project: Project, painter: Painter | None = None, selected: str = "people", max_upload: int = MAX_UPLOAD
) -> Page:
    """Make the page of a project.

    Args:
        project: It works in this folder.
        painter: Its session of masks; None: none is open yet.
        selected: The tab that is shown first.
        max_upload: Largest upload in bytes, which the page states beside what takes uploads.
    """
    painter = painter or Painter()

    def routes(app: FastAPI) -> None:
        add_pulse(app, project)
        add_files(app, project)
        add_crops(app, painter)

    worker = Worker(IDLE)
    css, scripts = _read("style.css") + page_css(), f"{_read('page.js')}\n{page_scripts()}"
    return Page(
        lambda: build(project, worker, painter, selected, format_bytes(max_upload)), css, scripts, routes=routes
    )


def build(project: Project, worker: Worker, painter: Painter, selected: str, largest: str) -> gr.Blocks:
    """Build the page's components.

    Args:
        project: It works in this folder.
        worker: Draws one frame of a swap.
        painter: The session of masks.
        selected: The tab that is shown first.
        largest: Size of the largest upload, in words.
    """
    with gr.Blocks(
        title="facesmith studio", analytics_enabled=False, fill_width=True, delete_cache=(600, 86_400)
    ) as page:
        gr.HTML(_head(project), apply_default_css=False, elem_id="studio-head")
        queue = gr.HTML(js_on_load=_QUEUE_JS, apply_default_css=False, elem_id="queue")
        with gr.Tabs(selected=selected, elem_id="tabs"):
            with gr.Tab("People", id="people"):
                PeopleTab(project, largest).build()
            with gr.Tab("Train", id="train"):
                TrainTab(project).build()
            with gr.Tab("Swap", id="swap"):
                SwapTab(project, worker, largest).build()
            with gr.Tab("Masks", id="masks"):
                masks = MasksTab(project, painter)
                masks.build(page)
            with gr.Tab("Dance", id="dance"):
                DanceTab(project).build()
            with gr.Tab("Compare", id="compare"):
                CompareTab(project).build()
        refresh = refresh_button("queue")
        refresh.click(lambda: draw_jobs(project), None, [queue], **QUIET)
        stopped: Any = queue.stop

        def stop(event: gr.EventData) -> str:
            gr.Info(escape(reported(jobs.stop)(jobs.find_job(project, str(event.id)))))
            return draw_jobs(project)

        stopped(stop, None, [queue], **QUIET)
        page.load(None, None, None, js="() => { window.studioReady(); }", api_visibility=PRIVATE)
        add_endpoints(project, worker, masks)
    return page


def _head(project: Project) -> str:
    return (
        "<header><h1>facesmith <span>studio</span></h1>"
        f'<code title="project folder">{escape(str(project.root))}</code></header>'
        '<div id="gone" role="alert" hidden></div>'
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
