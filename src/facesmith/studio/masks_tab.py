"""The tab of masks: the painter, for any face set of the project."""

from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response

from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import MASKS, MaskStore
from facesmith.annotate.page import CROPS, Painter, build_painter
from facesmith.annotate.session import Session
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.files import make_private_folder
from facesmith.studio.calls import PRIVATE, QUIET, command_box, command_of, listed, refresh_button, reported
from facesmith.studio.project import Project
from facesmith.studio.training import compose
from facesmith.studio.words import argument

_STARTS = (("the landmarks' outline", ""), ("the occluder that ships", "asset:occluder_general.onnx"))


class MasksTab:
    """Its components and what they do.

    Args:
        project: It works in this folder.
        painter: Its session, shared by all windows.
    """

    def __init__(self, project: Project, painter: Painter) -> None:
        self._project, self._painter = project, painter

    def build(self, page: gr.Blocks) -> None:
        """Add the components of the tab and connect their events.

        Args:
            page: Whose loading shows the session that is open.
        """
        with gr.Row(elem_classes="actions"):
            faces = gr.Dropdown([], label="Faces", info="face sets of this project", elem_id="masks_faces", scale=3)
            start = gr.Dropdown(list(_STARTS), value="", label="Painting starts from", scale=2)
            opens = gr.Button("Open", size="sm", elem_id="masks_open", scale=1)
        command = command_box()
        parts = build_painter(self._painter)
        refresh = refresh_button("masks")
        gr.on([faces.change, start.change], self._describe, [faces, start], [command], **QUIET)

        def show(folder: str, occluder: str, onion: bool) -> list[Any]:
            reported(self.open)(folder, occluder)
            return parts.show(onion)

        opens.click(show, [faces, start, parts.onion], parts.seen, api_visibility=PRIVATE, concurrency_id="store")
        refresh.click(self._list, [faces], [faces], **QUIET)
        page.load(parts.show, [parts.onion], parts.seen, **QUIET, concurrency_id="store")

    def open(self, folder: str, occluder: str = "") -> None:
        """Open the masks of a face set; the set that was open is closed.

        Args:
            folder: Of the set.
            occluder: Whose predictions painting starts from; "" for the outline.

        Raises:
            UserError: The set is missing, or another program paints in its masks.
        """
        config = compose("annotate", AnnotateConfig, self._words(folder, occluder)[1:])
        faces = FaceSet(self._project.resolve(folder, "faces"))
        predict = None
        if config.occluder is not None:
            from facesmith.annotate.prediction import load_predictor

            predict = load_predictor(faces, config.occluder)
        masks = faces.path.parent / MASKS
        make_private_folder(masks)
        self._painter.close()
        self._painter.open(Session(MaskStore(faces, masks, config.forehead, predict)))

    def _words(self, folder: str | None, occluder: str) -> list[str]:
        words = ["annotate", argument("faces", self._project.existing(folder or "", "faces"))]
        words += [argument("occluder", self._project.existing(occluder, "occluder"))] if occluder else []
        return [*words, *self._project.path_arguments()]

    def _describe(self, folder: str | None, occluder: str) -> str:
        return command_of(lambda: self._words(folder, occluder))

    def _list(self, chosen: str | None) -> Any:
        found = [self._project.short(path) for path in self._project.face_sets()]
        return listed(found, chosen if chosen in found else None, found[0] if found else None)


def add_crops(app: FastAPI, painter: Painter) -> None:
    """Add the route of the film strip's pictures.

    Args:
        app: The server's application.
        painter: Whose faces they are.
    """

    @app.get(CROPS + "{row}")
    def crop(row: int) -> Response:
        path = painter.crop(row)
        if path is None or not path.is_file():
            return PlainTextResponse("no such face", 404)
        return FileResponse(path, headers={"cache-control": "private, max-age=3600"})
