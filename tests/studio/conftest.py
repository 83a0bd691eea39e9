"""A small page behind the guard, and a project for the whole one."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest
from gradio_client import Client

from facesmith.config.schema import PathsConfig
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.studio.page import make_page
from facesmith.studio.project import Project
from facesmith.studio.server import Page, serve


class Served(NamedTuple):
    """A page that is served: its address, its token, a client without either."""

    address: str
    token: str
    client: httpx.Client


Serving = Callable[..., AbstractContextManager[Served]]


def echo_page() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        text, file = gr.Textbox(), gr.File()
        gr.Button().click(lambda said: said, [text], [text], api_name="echo")
        file.upload(lambda path: path, [file], [text], api_name="take")
    return page


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    @contextmanager
    def served(**given: Any) -> Iterator[Served]:
        shown = tmp_path / "shown"
        shown.mkdir(exist_ok=True)
        with serve(lambda: Page(echo_page, "", "", (shown,)), **given) as address:
            parts = urlsplit(address)
            token = parse_qs(parts.query).get("token", [""])[0]
            with httpx.Client(base_url=f"http://{parts.netloc}", trust_env=False, timeout=20) as client:
                yield Served(address, token, client)

    return served


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Make an empty project folder, and work in it as the studio does."""
    paths = PathsConfig(runs=Path("runs"), face_sets=Path("face_sets"), profiles=Path("profiles"), run=None)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return Project(root.resolve(), paths)


@pytest.fixture
def ada(project: Project, carphone_set: FaceSet) -> Project:
    """The project with the faces of ada."""
    shutil.copytree(carphone_set.path, project.root / "face_sets" / "ada" / carphone_set.path.name)
    return project


@contextmanager
def studio_client(project: Project) -> Iterator[tuple[Client, httpx.Client]]:
    """Serve the studio of a project; yield a client of its endpoints and one of plain HTTP."""
    with serve(lambda: make_page(project)) as address:
        parts = urlsplit(address)
        known = {"Authorization": f"Bearer {parse_qs(parts.query)['token'][0]}"}
        base = f"http://{parts.netloc}"
        with httpx.Client(base_url=base, headers=known, trust_env=False, timeout=20) as plain:
            yield Client(base, headers=known, verbose=False), plain
