"""The painter's page in a real browser: a person paints, turns pages, fills frames, reloads; the disk has it all."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facesmith.annotate.masks import MaskStore
from facesmith.annotate.page import COMMANDS, Painter, as_markdown
from facesmith.annotate.session import Session
from facesmith.config.schema import PathsConfig
from facesmith.studio.page import make_page
from facesmith.studio.project import Project
from facesmith.studio.server import serve

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE = 120  # seconds: two busy cores draw WebGL in software
# Without a graphics card every drawn picture costs a fifth of a second: draw few, and plain ones.
SPARING = """
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 50);
window.cancelAnimationFrame = (number) => clearTimeout(number);
const taken = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, how) {
  return taken.call(this, kind, { ...how, antialias: false });
};
"""


def test_commands_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "painter.md").read_text(encoding="utf-8")
    assert as_markdown() in page


class Browser:
    """A window on the page, and what a person does there."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self) -> None:
        self.driver.get(self.address)
        self.wait(lambda: "faces; masks are kept" in self.text("#status"))
        self.loaded()

    def text(self, place: str) -> str:
        found: str = self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", place)
        return found

    def wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"waited in vain; the page says {self.text('#status')!r}"
            time.sleep(0.1)

    def loaded(self) -> None:
        """Wait until the editor takes strokes."""
        self.wait(lambda: not self.driver.find_elements("css selector", "#status .loading"))

    def press(self, key: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def hold(self, held: str, key: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def stroke(self, *points: tuple[int, int]) -> None:
        """Draw from point to point, px of the face."""
        from selenium.webdriver import ActionChains

        canvas = self.driver.find_element("css selector", "#editor canvas")
        # of an element that is partly out of view, Selenium takes the middle of what is seen
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        zoom = float(self.text("#editor .zoom-number").strip("%")) / 100
        across = [((x - 256) * zoom, (y - 256) * zoom) for x, y in points]
        hand = ActionChains(self.driver, duration=0)
        hand.move_to_element_with_offset(canvas, *map(round, across[0])).click_and_hold()
        for start, end in pairwise(across):
            hand.move_by_offset(round(end[0] - start[0]), round(end[1] - start[1]))
        hand.release().perform()


@pytest.fixture
def browser(store: MaskStore, tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no browser here: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "enable-unsafe-swiftshader"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1000,1200")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SPARING})
        paths = PathsConfig(runs=Path("runs"), face_sets=Path("face_sets"), profiles=Path("profiles"), run=None)
        project, painter = Project(tmp_path.resolve(), paths), Painter(Session(store))
        with serve(lambda: make_page(project, painter, selected="masks")) as address:
            yield Browser(driver, address)
    finally:
        driver.quit()


def on_disk(store: MaskStore, row: int) -> np.ndarray:
    return np.asarray(Image.open(store.path(row)).convert("L"))


def band(*points: tuple[int, int], width: int) -> np.ndarray:
    drawn = np.zeros((512, 512), np.uint8)
    cv2.polylines(drawn, [np.int32(points)], False, 255, width)
    return drawn > 0


def test_page_paint_in_browser(browser: Browser, store: MaskStore) -> None:
    from selenium.webdriver.common.keys import Keys

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", browser.address)
    browser.open()
    for command in COMMANDS:
        place = browser.driver.execute_script("return placeOf(arguments[0])", command.name)
        assert place, f"{command.name} is nowhere on the page"
    cover = [(220, 260), (260, 280), (300, 270)]
    browser.press("e")
    browser.stroke(*cover)
    browser.wait(lambda: "saved" in browser.text("#status"))
    changed = on_disk(store, 0) != store.hull(0)
    assert changed[band(*cover, width=20)].all()
    assert not changed[~band(*cover, width=60)].any()

    browser.press(Keys.ARROW_RIGHT)
    browser.wait(lambda: "Frame 2" in browser.text("#heading"))
    browser.driver.find_elements("css selector", "#strip .frame")[3].click()
    browser.wait(lambda: "Frame 4" in browser.text("#heading"))
    browser.loaded()
    beyond = [(60, 60), (110, 80)]
    browser.press("b")
    browser.stroke(*beyond)
    browser.wait(lambda: store.state(3) == "painted")
    changed = on_disk(store, 3) != store.hull(3)
    assert changed[band(*beyond, width=20)].all()
    assert on_disk(store, 3)[band(*beyond, width=20)].all()
    assert not changed[~band(*beyond, width=60)].any()

    browser.press("i")
    browser.wait(lambda: "2 frames filled" in browser.text("#status"))
    kept = [on_disk(store, row) for row in range(4)]
    browser.open()
    assert "Frame 4" in browser.text("#heading")
    assert "2 painted" in browser.text("#heading")
    assert "2 interpolated" in browser.text("#heading")
    classes = [one.get_attribute("class").split()[1] for one in browser.driver.find_elements("css selector", ".frame")]
    assert classes[:5] == ["painted", "interpolated", "interpolated", "painted", "hull"]
    for row, mask in enumerate(kept):
        assert np.array_equal(on_disk(store, row), mask)

    browser.hold(Keys.CONTROL, "z")
    browser.wait(lambda: "undone" in browser.text("#status"))
    assert store.state(1) == "hull"


@pytest.mark.slow
def test_page_in_a_window_of_another_height_paints_where_the_hand_is(browser: Browser, store: MaskStore) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open()
    cover = [(220, 260), (260, 280), (300, 270)]
    zooms = set()
    for row, height in enumerate((900, 1500)):
        browser.driver.set_window_size(1000, height)
        time.sleep(2)  # the picture is brought to the middle
        zooms.add(browser.text("#editor .zoom-number"))
        browser.press("e")
        browser.stroke(*cover)
        browser.wait(lambda row=row: store.state(row) == "painted")
        changed = on_disk(store, row) != store.hull(row)
        assert changed[band(*cover, width=20)].all(), height
        assert not changed[~band(*cover, width=60)].any(), height
        browser.press(Keys.ARROW_RIGHT)
        browser.wait(lambda row=row: f"Frame {row + 2}" in browser.text("#heading"))
        browser.loaded()
    assert len(zooms) > 1
