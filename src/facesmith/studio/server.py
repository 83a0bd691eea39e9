"""The server of the page: one port, one guard, a private folder for what goes back and forth."""

import asyncio
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from facesmith.errors import UserError
from facesmith.studio.access import Access, password_problem
from facesmith.studio.opening import opening_page

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

PASSWORD: Final = "FACESMITH_PASSWORD"
MAX_UPLOAD: Final = 4_000_000_000
"""Bytes of the largest upload, where nothing else is said."""
_SCRATCH: Final = "facesmith-studio-"
_FONT: Final = ["system-ui", "sans-serif"]  # installed on the computer: the page loads nothing from the network
_CODE: Final = ["ui-monospace", "monospace"]
_STARTING: Final = 30.0  # seconds
_QUEUE_REST: Final = 0.1  # seconds; Gradio looks for calls every millisecond, 6 % of a core for nothing
_PROGRESS_REST: Final = 0.5  # seconds; and for their progress every ten, another 1 %
_PORT: Final = 7865  # asked for first, so that the address stays the same from start to start


@dataclass(frozen=True)
class Page:
    """A page of Gradio's, and what it is drawn with.

    Attributes:
        build: Makes its components.
        css: Its style sheets.
        scripts: Its scripts.
        allowed: Folders whose files the page shows.
        routes: Adds what is not Gradio's.
    """

    build: "Callable[[], gr.Blocks]"
    css: str
    scripts: str
    allowed: tuple[Path, ...] = ()
    routes: "Callable[[FastAPI], None]" = lambda app: None


@contextmanager
def serve(
    make: Callable[[], Page],
    *,
    listen: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = False,
    names: tuple[str, ...] = (),
    max_upload: int = MAX_UPLOAD,
    query: str = "",
    announce: Callable[[str], None] = lambda address: None,
) -> Iterator[str]:
    """Serve a page on a thread until the `with` ends.

    The address answers within a second, with a page that waits; what builds the real one takes some seconds to import.

    Args:
        make: Makes what is served.
        listen: Address to listen on; one that other computers reach asks for the password in `FACESMITH_PASSWORD`.
        port: None for the usual one, or where that is taken a free one.
        browser: Open the page in a browser.
        names: Further names under which the page may be asked for.
        max_upload: Largest upload in bytes.
        query: What else stands in the address, such as `__theme=dark`.
        announce: Is called with the address as soon as it answers.

    Yields:
        The address of the page, with its token.

    Raises:
        UserError: The port is taken, or a password is missing.
    """
    password = os.environ.get(PASSWORD)
    if problem := password_problem(listen, password):
        raise UserError(f"listen={listen}: {problem}")
    with _listen(listen, port) as bound, _private_scratch() as scratch:
        access = Access(listen, bound.getsockname()[1], names, password, max_upload)
        host = "127.0.0.1" if listen in ("0.0.0.0", "::") else listen
        shown = f"[{host}]" if ":" in host else host
        words = "&".join(filter(None, ["" if password else f"token={access.token}", query]))
        address = f"http://{shown}:{access.port}/{'?' if words else ''}{words}"
        with opening_page(bound):
            announce(address)
            if browser:
                webbrowser.open(address)
            import uvicorn

            from facesmith.studio.guard import Guard

            app = _assemble(make(), access, scratch)
            logging.getLogger("uvicorn.error").addFilter(_is_no_farewell)
            guarded = Guard(app, access, scratch)
            config = uvicorn.Config(
                guarded,
                log_level="error",
                ws="none",
                timeout_graceful_shutdown=1,
                proxy_headers=bool(names),  # of a proxy on this computer, whose clients it names
            )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        end = time.monotonic() + _STARTING
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise UserError(f"listen={listen}: the server did not start; see the lines above")
            time.sleep(0.02)
        try:
            yield address
        finally:
            app.state.closing = True
            server.should_exit = True
            thread.join(5)


def _assemble(page: Page, access: Access, scratch: Path) -> "FastAPI":
    import gradio as gr
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page.routes(app)
    quiet = {"body_text_color_subdued": "*neutral_600", "body_text_color_subdued_dark": "*neutral_400"}
    quiet |= {"block_info_text_color": "*neutral_600", "block_info_text_color_dark": "*neutral_400"}
    fill = "button_primary_background_fill"
    loud = {f"{fill}{dark}": "*primary_700" for dark in ("", "_dark")}
    loud |= {f"{fill}_hover{dark}": "*primary_800" for dark in ("", "_dark")}
    theme = gr.themes.Base(
        primary_hue="sky", neutral_hue="slate", spacing_size="sm", radius_size="md", font=_FONT, font_mono=_CODE
    ).set(**quiet, **loud)
    blocks = page.build()
    blocks.has_launched = True  # of a mounted page that is not set, and then Gradio takes any file for an upload
    blocks._queue.sleep_when_free = _QUEUE_REST
    blocks._queue.progress_update_sleep_when_free = _PROGRESS_REST
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=access.listen,
        server_port=access.port,
        allowed_paths=[str(one) for one in page.allowed],
        max_file_size=access.max_upload,
        show_error=True,
        footer_links=[],
        run_history=False,
        theme=theme,
        css=page.css,
        head=f"<script>{page.scripts}</script>",
        ssr_mode=False,
    )


def _is_no_farewell(record: logging.LogRecord) -> bool:
    """Keep what uvicorn says of pages that are open while it ends out of the terminal."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not ended and not str(record.msg).startswith("Cancel %s running task")


@contextmanager
def _listen(address: str, port: int | None) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    host = "127.0.0.1" if address == "localhost" else address
    for wanted in [port] if port is not None else [_PORT, 0]:
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, wanted))
            bound.listen(128)
        except OSError as error:
            bound.close()
            if wanted == _PORT and port is None:
                continue
            raise UserError(
                f"port={wanted}: cannot be listened on at {address} ({error.strerror or error}); choose another"
            ) from None
        with bound:
            yield bound
        return


@contextmanager
def _private_scratch() -> Iterator[Path]:
    """Make the folder of uploads and pictures on their way: its owner's alone, and gone with the server."""
    _remove_abandoned()
    before = os.umask(0o077)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    os.environ["GRADIO_TEMP_DIR"] = str(scratch)
    done = threading.Event()
    threading.Thread(target=_sweep, args=(scratch, done), daemon=True).start()
    try:
        yield scratch
    finally:
        done.set()
        os.umask(before)
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_abandoned() -> None:
    """Remove what servers left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        number = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        ours = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        if ours and number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(scratch: Path, done: threading.Event, *, every: float = 60.0, cut_off: float = 300.0) -> None:
    """Remove uploads that were cut off, and what nobody has asked for since a day."""
    while not done.wait(every):
        remove_stale(scratch, cut_off)


def remove_stale(scratch: Path, cut_off: float, day: float = 86_400.0) -> None:
    """Remove what an upload that was cut off left, and what is old.

    Args:
        scratch: The server's private folder.
        cut_off: Seconds after which a file that did not grow is no upload any more.
        day: Seconds after which any file is removed.
    """
    now = time.time()
    for path in scratch.rglob("*"):
        try:
            age = now - path.stat().st_mtime
            partial = path.parent == scratch and path.is_file()
            if path.is_file() and (age > day or (partial and age > cut_off)):
                path.unlink()
        except OSError:
            continue
