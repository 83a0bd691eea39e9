"""The guard before the page: every request passes it, whatever serves the answer."""

from collections.abc import MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesmith.errors import format_bytes, free_bytes
from facesmith.studio.access import Access, Headers, RefusedError

LOGIN: Final = "/login"
_MANIFEST: Final = "/manifest.json"
_SPARE: Final = 200_000_000  # bytes of the disk that an upload must leave
_MOST_LOGIN: Final = 4096  # bytes
# Nothing is loaded from elsewhere, and the page is in nobody's frame; Gradio's scripts are inline and make functions.
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuse strangers; measure uploads; state what the page may load.

    Args:
        app: What is guarded.
        access: What a request must show.
        uploads: Folder that uploads go to, whose disk must hold them.
    """

    def __init__(self, app: ASGIApp, access: Access, uploads: Path) -> None:
        self._app, self._access, self._uploads = app, access, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            answer = await self._check(scope, headers, receive)
        except RefusedError as refusal:
            answer = PlainTextResponse(refusal.reason, refusal.status)
        if answer is None:
            await self._app(scope, receive, self._mark(send, self._new_cookie(scope)))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, self._mark(send, None))

    async def _check(self, scope: Scope, headers: Headers, receive: Receive) -> Response | None:
        """Return the answer to a request that goes no further, None to one that may."""
        access, path = self._access, scope["path"]
        access.check_host(headers)
        opens = scope.get("method") == "GET" and path == "/"
        access.check_origin(headers, opens_page=opens)
        if path == LOGIN and scope.get("method") == "POST":
            return await self._log_in(scope, receive)
        if path == _MANIFEST:  # browsers ask for it without cookies; it holds the page's title
            return None
        if not access.is_known(headers, scope.get("query_string", b"").decode("latin-1")):
            if opens:
                return HTMLResponse(_ask(access.password is not None, ""), HTTPStatus.UNAUTHORIZED)
            raise RefusedError(401, "the token is missing; open the address that the command printed")
        self._check_size(headers)
        return None

    def _check_size(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        size, most = int(length) if length.isdecimal() else 0, self._access.max_upload
        if size > most:
            raise RefusedError(
                413, f"{format_bytes(size)} are too much; {format_bytes(most)} are taken, see max_upload_gb="
            )
        if size and size + _SPARE > free_bytes(self._uploads):
            free = format_bytes(free_bytes(self._uploads))
            raise RefusedError(507, f"the disk is full: {free} are free; make room, then upload again")

    async def _log_in(self, scope: Scope, receive: Receive) -> Response:
        body = b""
        while len(body) <= _MOST_LOGIN:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        host, _ = scope.get("client") or ("", 0)  # of a proxy on this computer: the address that it names
        if not self._access.check_password(given, host):
            return HTMLResponse(_ask(True, "This is not the password, or it came too fast."), HTTPStatus.UNAUTHORIZED)
        answer = Response(status_code=HTTPStatus.SEE_OTHER, headers={"location": "/"})
        answer.headers.append("set-cookie", self._set_cookie())
        return answer

    def _new_cookie(self, scope: Scope) -> str | None:
        """Return a cookie for whoever opens the page with the token in its address."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        return self._set_cookie() if given and scope["path"] == "/" else None

    def _set_cookie(self) -> str:
        return f"{self._access.cookie}={self._access.token}; Path=/; HttpOnly; SameSite=Strict"

    @staticmethod
    def _mark(send: Send, cookie: str | None) -> Send:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                more: MutableMapping[str, Any] = {**_HEADERS, **({"set-cookie": cookie} if cookie else {})}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in present),
                ]
            await send(message)

        return marked


def _ask(password: bool, problem: str) -> str:
    """Return the page that asks who is there."""
    asked = (
        '<form method="post" action="/login"><label>Password <input type="password" name="password" autofocus '
        'autocomplete="current-password"></label> <button>Open</button></form>'
        if password
        else "<p>Open the address that <code>facesmith studio</code> printed; it holds the token of this start.</p>"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>facesmith studio</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;"
        "margin:18vh auto;padding:0 1rem;color-scheme:light dark}input,button{font:inherit;padding:.3rem .6rem}</style>"
        f"<h1>facesmith studio</h1><p role=alert>{problem}</p>{asked}</html>"
    )
