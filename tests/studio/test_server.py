"""The guard, asked by a real HTTP client: strangers get nothing, the owner gets the page."""

import os
import re
import socket
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from facesmith.errors import UserError
from facesmith.studio import server
from facesmith.studio.access import Access
from facesmith.studio.server import PASSWORD, Page, remove_stale, serve

from .conftest import Serving, echo_page


def scratch_folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"facesmith-studio-{os.getpid()}-*"))


def test_guard_stranger_gets_nothing_owner_gets_page(serving: Serving, tmp_path: Path) -> None:
    picture = tmp_path / "shown" / "face.png"
    picture.parent.mkdir()
    picture.write_bytes(b"\x89PNG face")
    with serving() as page:
        asked = page.client.get
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", page.address)
        for place in ("/", "/config", f"/gradio_api/file={picture}", "/theme.css", "/gradio_api/startup-events"):
            assert asked(place).status_code == 401, place
            assert asked(f"{place}?token=wrong").status_code == 401, place
        opened = asked(f"/?token={page.token}")
        assert opened.status_code == 200
        assert "gradio_config" in opened.text
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert asked(f"/gradio_api/file={picture}").content == b"\x89PNG face"  # by the cookie
        assert asked(f"/gradio_api/file={Path(__file__)}").status_code == 403


def test_guard_other_host_or_origin_is_refused(serving: Serving) -> None:
    with serving() as page:
        known = {"Authorization": f"Bearer {page.token}"}
        assert page.client.get("/config", headers=known).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "192.168.0.9", ""):
            assert page.client.get("/config", headers={**known, "Host": host}).status_code == 421, host
        port = page.client.base_url.port
        for origin in ("https://evil.example", f"http://evil.example:{port}", "null", "http://127.0.0.1:1"):
            answer = page.client.post("/gradio_api/queue/join", headers={**known, "Origin": origin}, json={})
            assert answer.status_code == 403, origin
        crossing = {**known, "Sec-Fetch-Site": "cross-site"}
        assert page.client.get("/config", headers=crossing).status_code == 403
        assert page.client.get("/", headers=crossing).status_code == 200  # a link of elsewhere to the page itself


def test_guard_nothing_is_loaded_from_elsewhere(serving: Serving) -> None:
    with serving() as page:
        answer = page.client.get(f"/?token={page.token}")
        loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](https?:[^"']+)""", answer.text)
        assert loaded == []
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "fonts.g" not in page.client.get("/theme.css").text


def test_upload_is_private_bounded_and_removed(serving: Serving) -> None:
    with serving(max_upload=1000) as page:
        known = {"Authorization": f"Bearer {page.token}"}
        sent = page.client.post("/gradio_api/upload", headers=known, files={"files": ("a.jpg", b"face")})
        assert sent.status_code == 200
        (place,) = sent.json()
        (scratch,) = scratch_folders()
        assert Path(place).is_relative_to(scratch)
        assert scratch.stat().st_mode & 0o777 == 0o700
        assert Path(place).stat().st_mode & 0o777 == 0o600
        big = page.client.post("/gradio_api/upload", headers=known, files={"files": ("b.jpg", b"x" * 2000)})
        assert (big.status_code, "are too much" in big.text) == (413, True)

        def endless():  # type: ignore[no-untyped-def]  # without a length in its head
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="c"\r\n\r\n'
            yield b"x" * 5000
            yield b"\r\n--x--\r\n"

        form = {**known, "Content-Type": "multipart/form-data; boundary=x"}
        assert page.client.post("/gradio_api/upload", headers=form, content=endless()).status_code == 413
    assert scratch_folders() == []


def test_file_that_nobody_uploaded_is_no_upload(serving: Serving, tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    private.write_text("nobody's business")
    with serving() as page:
        known = {"Authorization": f"Bearer {page.token}"}
        forged = {"path": str(private), "meta": {"_type": "gradio.FileData"}}
        call = {"data": [forged], "session_hash": "x"}
        joined = page.client.post("/gradio_api/call/take", headers=known, json=call)
        event = joined.json()["event_id"]
        answer = page.client.get(f"/gradio_api/call/take/{event}", headers=known)
        assert "event: error" in answer.text
        (scratch,) = scratch_folders()
        assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_upload_cut_off_is_swept_away(serving: Serving) -> None:
    with serving() as page:
        parts = page.client.base_url
        head = (
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {parts.host}:{parts.port}\r\n"
            f"Authorization: Bearer {page.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 2000000000\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="files"; filename="film.mp4"\r\n\r\n'
        )
        with socket.create_connection((parts.host, parts.port or 80)) as wire:
            wire.sendall(head.encode() + b"y" * 300_000)
            time.sleep(0.2)
        (scratch,) = scratch_folders()
        end = time.monotonic() + 5
        while time.monotonic() < end and not list(scratch.iterdir()):
            time.sleep(0.05)
        remove_stale(scratch, cut_off=-1)
        assert [path for path in scratch.rglob("*") if path.is_file()] == []
        assert page.client.get("/config", headers={"Authorization": f"Bearer {page.token}"}).status_code == 200


def test_upload_full_disk_is_one_line(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesmith.studio.guard.free_bytes", lambda path: 150_000_000)
    with serving() as page:
        known = {"Authorization": f"Bearer {page.token}"}
        answer = page.client.post("/gradio_api/upload", headers=known, files={"files": ("a.jpg", b"face")})
        assert answer.status_code == 507
        assert answer.text.startswith("the disk is full: ")


def test_listen_to_others_demands_a_password(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(UserError, match="put a password into"), serving(listen="0.0.0.0"):
        pass
    monkeypatch.setenv(PASSWORD, "short")
    with pytest.raises(UserError, match="too short"), serving(listen="0.0.0.0"):
        pass
    monkeypatch.setenv(PASSWORD, "correct horse")
    with serving(listen="0.0.0.0", names=("studio.example",)) as page:
        assert page.token == ""
        asked = page.client.get("/")
        assert (asked.status_code, 'name="password"' in asked.text) == (401, True)
        assert page.client.get("/config", headers={"Host": "evil.example"}).status_code == 421
        assert page.client.get("/config", headers={"Host": "studio.example"}).status_code == 401
        assert page.client.post("/login", data={"password": "wrong"}).status_code == 401
        assert page.client.post("/login", data={"password": "correct horse"}).status_code == 401  # too fast
        time.sleep(1.05)
        entered = page.client.post("/login", data={"password": "correct horse"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert page.client.get("/config").status_code == 200


def test_password_tries_are_counted_by_address(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "correct horse")

    def enter(client: httpx.Client, password: str, *, client_of_proxy: str = "") -> int:
        named = {"X-Forwarded-For": client_of_proxy} if client_of_proxy else {}
        return client.post("/login", data={"password": password}, headers=named).status_code

    with serving(listen="0.0.0.0", names=("studio.example",)) as page:  # behind a proxy on this computer
        assert enter(page.client, "wrong", client_of_proxy="203.0.113.9") == 401
        assert enter(page.client, "correct horse", client_of_proxy="198.51.100.7") == 303
        assert enter(page.client, "correct horse", client_of_proxy="203.0.113.9") == 401
    with serving(listen="0.0.0.0") as page:  # without one nobody is believed who he says he is
        assert enter(page.client, "wrong", client_of_proxy="203.0.113.9") == 401
        assert enter(page.client, "correct horse", client_of_proxy="198.51.100.7") == 401


def test_password_tries_of_one_ipv6_network_count_together_and_are_forgotten() -> None:
    access = Access("::", 7865, password="correct horse")
    assert not access.check_password("wrong", "2001:db8:0:1::1")
    assert not access.check_password("correct horse", "2001:db8:0:1:ffff::2")
    assert access.check_password("correct horse", "2001:db8:0:2::1")
    assert not access.check_password("wrong", "::ffff:192.0.2.1")
    assert not access.check_password("correct horse", "192.0.2.1")
    assert access.check_password("correct horse", "192.0.2.2")
    time.sleep(1.05)
    assert access.check_password("correct horse", "2001:db8:0:1::1")
    assert len(access._tried) == 1


def test_serve_answers_while_the_page_is_being_made() -> None:
    seen: list[httpx.Response] = []
    addresses: list[str] = []

    def make() -> Page:
        seen.append(httpx.get(addresses[0], trust_env=False))
        return Page(echo_page, "", "")

    with serve(make, announce=addresses.append) as address:
        assert addresses == [address]
        assert (seen[0].status_code, "is being opened" in seen[0].text) == (503, True)
        assert "token" not in seen[0].text
        assert httpx.get(address, trust_env=False).status_code == 200


def test_gradio_still_calls_the_rests_of_its_queue_so() -> None:
    with echo_page() as page:
        rests = (page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free)
    assert all(0 < rest < 1 for rest in rests), "find their new names, for server._assemble"


def test_serve_taken_port_is_one_line(serving: Serving) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port={port}: cannot be listened on"), serving(port=port):
            pass


def test_abandoned_scratch_of_killed_server_is_removed(serving: Serving) -> None:
    dead = Path(tempfile.mkdtemp(prefix="facesmith-studio-999999999-"))
    (dead / "face.jpg").write_bytes(b"face")
    server._remove_abandoned()
    assert not dead.exists()
