"""A small page behind the guard, and a project for the whole one."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest
from gradio_client import Client

from facesmith.config.schema import PathsConfig
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.studio.jobs import Job
from facesmith.studio.page import make_page
from facesmith.studio.project import Project
from facesmith.studio.server import Page, serve

from .browser import CHROMIUM, DRIVER, Server, Window


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


@pytest.fixture(scope="module")
def browse() -> Iterator[Callable[[], Window]]:
    """Open windows of the browser, each a browser of its own."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no browser here: apt-get install chromium chromium-driver")
    from selenium import webdriver

    with ExitStack() as opened:

        def one() -> Window:
            options = webdriver.ChromeOptions()
            options.binary_location = CHROMIUM or ""
            flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "enable-unsafe-swiftshader")
            for flag in (
                *flags,
                "window-size=1280,1100",
                "use-fake-device-for-media-stream",
                "use-fake-ui-for-media-stream",
            ):
                options.add_argument(f"--{flag}")
            driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
            opened.callback(driver.quit)
            return Window(driver)

        yield one


@pytest.fixture(scope="module")
def window(server: Server, browse: Callable[[], Window]) -> Window:
    """Open the page of the module's project."""
    opened = browse()
    opened.open(server.start())
    return opened


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Make a project for all tests of a module, and end what was started in it; FACESMITH_WALK=<folder> keeps it."""
    kept, module = os.environ.get("FACESMITH_WALK"), request.module.__name__.rpartition(".")[2]
    project = (Path(kept) / module if kept else tmp_path_factory.mktemp("walk")) / "project"
    project.mkdir(parents=True, exist_ok=True)
    made = Server(project)
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.kill()
        for state in project.glob(".facesmith/jobs/*/state.json"):
            if Job(state.parent).is_live:
                for key in ("pid", "runner"):
                    with suppress(KeyError, OSError):
                        os.kill(json.loads(state.read_text())[key], signal.SIGKILL)
