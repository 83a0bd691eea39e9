"""A small page behind the guard."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest

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
        with serve(Page(echo_page, "", "", (shown,)), **given) as address:
            parts = urlsplit(address)
            token = parse_qs(parts.query).get("token", [""])[0]
            with httpx.Client(base_url=f"http://{parts.netloc}", trust_env=False, timeout=20) as client:
                yield Served(address, token, client)

    return served
