"""The studio as a process of its own, and windows of a real browser on its page."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = float(os.environ.get("FACESMITH_PATIENCE", "1200"))  # seconds, for machines that are busy
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
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


class Server:
    """`facesmith studio` as a process of its own."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.log = project.parent / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *given: str, **environment: str) -> str:
        command = [sys.executable, "-m", "facesmith", "studio", f"project={self.project}", "open_browser=false", *given]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
        until(lambda: "http://" in self.log.read_text())
        (address,) = re.findall(r"http://\S+", self.log.read_text())
        return str(address)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


def until(done: Callable[[], object], seconds: float = PATIENCE) -> None:
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

    def focus_within(self) -> list[str]:
        """Return the ids of what holds the focus, from the inside out."""
        found: list[str] = self.driver.execute_script(_HOLDERS)
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

    def press(self, place: str, text: str) -> None:
        """Click the first button within a place that says this."""
        button = next(one for one in self.all(f"{place} button") if one.get_attribute("innerText").strip() == text)
        self.driver.execute_script("arguments[0].click()", button)

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
