"""The page that waits: answers at once, while what builds the real page is imported."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>facesmith studio</title><style>body{font:16px/1.5 system-ui,sans-serif;margin:30vh auto;text-align:center;
color-scheme:light dark}</style><h1>facesmith studio</h1><p role="status">The page is being opened ...</p></html>"""
_ANSWER: Final = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
    f"Cache-Control: no-store\r\nRetry-After: 1\r\nContent-Length: {len(_PAGE.encode())}\r\n\r\n{_PAGE}"
).encode()
_PATIENCE: Final = 0.1  # seconds between two looks whether the real page is there
_MOST: Final = 65_536  # bytes of a request that are read


@contextmanager
def opening_page(listening: socket.socket) -> Iterator[None]:
    """Answer every request with a page that asks again, until the `with` ends; it tells nothing and takes nothing.

    Args:
        listening: The socket, which listens; it is left as it was.
    """
    done = threading.Event()
    before = listening.gettimeout()
    listening.settimeout(_PATIENCE)

    def answer() -> None:
        while not done.is_set():
            with suppress(OSError):
                asked, _ = listening.accept()
                with asked:
                    asked.settimeout(1.0)
                    asked.recv(_MOST)
                    asked.sendall(_ANSWER)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        listening.settimeout(before)
