"""What a person does on the page and what goes wrong, in a real browser: each by a click, and read from the page.

FACESMITH_WALK=<folder> keeps the project there, so that a test can be run again by itself (-k); FACESMITH_SCREENS=
<folder> keeps pictures.
"""

import json
import shutil
import time
from datetime import date, timedelta

import numpy as np
import pytest
from PIL import Image

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.profiles.profile import IdentityProfile

from ..made_profiles import made_profile
from .browser import Server, Window, until

pytestmark = pytest.mark.slow

EPOCHS = 16
LIGHT = """model.generator.size=128
model.generator.pictures=4
data.validation_faces=2
data.pseudo_truth.frames=4
data.pseudo_truth.variants=2
data.max_frames=12
trainer.limit_train_batches=2
trainer.check_val_every_n_epoch=1
~callbacks.export"""
MARKUP = "<img src=x onerror=window.broken=1>"


@pytest.fixture(scope="module", autouse=True)
def _faces_and_profiles(server: Server, carphone_set: FaceSet) -> None:
    """Put ada's faces and two profiles into the project."""
    faces = server.project / "face_sets" / "ada" / carphone_set.path.name
    if not faces.exists():
        shutil.copytree(carphone_set.path, faces)
    profile = IdentityProfile.from_face_set(carphone_set, id="ada", method="mean")
    profile.save(server.project / "profiles" / "ada.json")
    yesterday = str(date.today() - timedelta(1))
    mean = np.roll(profile.mean, 1)
    made_profile("bea", mean, expires=yesterday).save(server.project / "profiles" / "bea.json")
    made_profile("cleo", mean[::-1].copy()).save(server.project / "profiles" / "cleo.json")


def start_training(window: Window, name: str, more: str, epochs: int = EPOCHS) -> None:
    window.tab("Train")
    window.type("#train_name input", name, "\n")
    until(lambda: window.value("#train_consent input") == "public_domain")  # as ada's faces state
    window.type("#train_source textarea", "asset:carphone_pristine.mp4", "")
    window.type("#train_epochs input", str(epochs))
    if not window.all("#train_more textarea"):
        window.click("#train_keys .label-wrap")
    window.type("#train_more textarea", more)
    wanted = (f"data.name={name}", f"max_epochs={epochs}", *more.split())
    until(lambda: all(word in window.value("#train_command textarea") for word in wanted))
    window.click("#train_start")


def test_training_is_queued_stopped_resumed_extended(server: Server, window: Window) -> None:
    start_training(window, "ada", LIGHT)
    until(lambda: f"epoch 1 of {EPOCHS}" in window.text("#run_head"))
    start_training(window, "ada", LIGHT)
    until(lambda: "the same command runs already" in window.text("body"))
    start_training(window, "ada", f"{LIGHT}\nseed=7", epochs=2)
    until(lambda: "1 running, 1 waiting" in window.text("#jobs summary"))
    start_training(window, "bea", LIGHT)
    until(lambda: "1 running, 2 waiting" in window.text("#jobs summary"))
    window.press("#jobs .card:has(.waiting)", "Take from the queue")
    until(lambda: "cancelled" in window.text("#jobs"))
    window.click("#run_stop")
    until(lambda: "interrupted" in window.text("#run_head"))
    first = next(server.project.glob("runs/identity/ada/2*/run.json"))
    done = json.loads(first.read_text())["epochs"]
    assert 1 <= done < EPOCHS
    until(lambda: f"Resume from epoch {done}" in window.text("#run_resume"))
    window.screen("stopped")
    window.click("#run_resume")
    until(lambda: "facesmith train resume=runs/identity/ada/" in window.value("#resume_command textarea"))
    until(lambda: json.loads(first.read_text())["status"] == "completed")
    assert json.loads(first.read_text())["epochs"] == EPOCHS
    second = max(server.project.glob("runs/identity/ada/2*/run.json"))
    assert json.loads(second.read_text())["settings"]["seed"] == 7  # its turn came first
    until(lambda: "completed" in window.text("#run_head"))
    until(lambda: window.one("#run_extend").is_enabled())
    window.type("#run_more input", "1")
    shown = window.text("#run_head h2").split()[0]
    window.click("#run_extend")
    until(lambda: f"max_epochs={EPOCHS + 1}" in window.value("#resume_command textarea"))
    until(lambda: json.loads((server.project / shown / "run.json").read_text())["epochs"] == EPOCHS + 1)


def test_runs_are_ranked_and_their_differences_shown(server: Server, window: Window) -> None:
    window.tab("Compare")
    until(lambda: "Leaderboard" in window.text("#compare_ranking"))
    until(lambda: "seed" in window.text("#compare_differences"))
    until(lambda: window.all("#compare_curves polyline"))
    assert "val/judge_distance" in window.text("#compare_ranking")
    window.screen("compare")


def test_job_that_fails_shows_its_last_line_and_log(server: Server, window: Window) -> None:
    start_training(window, "ada", f"{LIGHT}\ndata.selection.min_size=10000")
    until(lambda: "failed" in window.text("#jobs .card .badge"))
    (log,) = window.all("#jobs .card:first-child details")
    assert "error: " in window.text("#jobs .card:first-child p.failed")
    assert not log.find_element("css selector", "pre").is_displayed()
    log.find_element("css selector", "summary").click()
    assert "error: " in log.find_element("css selector", "pre").text
    window.screen("failed")


def test_markup_in_names_and_notes_is_text(server: Server, window: Window) -> None:
    window.tab("People")
    window.type("#person_name input, #person_name textarea", MARKUP)
    until(lambda: "use lower-case letters" in window.value("#person_command textarea"))
    window.type("#person_name input, #person_name textarea", "dora")
    window.driver.execute_script("document.querySelector('#person_consent input[value=self]').click()")
    window.type("#person_note input, #person_note textarea", MARKUP)
    picture = server.project.parent / "<img src=x onerror=broken=1>.png"
    Image.new("RGB", (64, 64)).save(picture)
    no_picture = server.project.parent / "<b>cut<b>.jpg"
    no_picture.write_bytes(b"\xff\xd8\xff half a picture")
    window.one("#person_files input[type=file]").send_keys(f"{picture}\n{no_picture}")
    until(lambda: "1 file is kept in uploads/dora" in window.text("#person_said"))
    assert "refused bcutb.jpg: is not an image" in window.text("#person_said")  # Gradio takes signs out of names
    window.click("#person_extract")
    until(lambda: "faces of dora" in window.text("#jobs .card:first-child"))
    until(lambda: "failed" in window.text("#jobs .card:first-child .badge"))
    assert MARKUP in window.text("#jobs .card:first-child code")
    assert window.driver.execute_script("return window.broken") is None
    window.screen("markup")


def test_shot_of_the_webcam_is_kept(server: Server, window: Window) -> None:
    window.tab("People")
    window.type("#person_name input, #person_name textarea", "eve")
    window.driver.execute_script("document.querySelector('#person_consent input[value=self]').click()")
    window.click("#person_webcam input")
    window.click("#person_shot [title='grant webcam access'] button")
    time.sleep(2)  # the first pictures of a camera are black
    window.click("#person_shot [aria-label='capture photo']")
    until(lambda: "1 file is kept in uploads/eve" in window.text("#person_said"))
    (kept,) = (server.project / "uploads" / "eve").iterdir()
    assert np.asarray(Image.open(kept)).std() > 1
    window.screen("webcam")


def open_masks(window: Window) -> None:
    window.tab("Masks")
    until(lambda: "face_sets/ada" in window.value("#masks_faces input"))
    window.click("#masks_open")
    until(lambda: window.all("#strip .frame") and "Frame 1" in window.text("#heading"))
    until(lambda: not window.all("#status .loading"))


def test_server_gone_is_told_and_no_saved_stroke_is_lost(server: Server, window: Window) -> None:
    from selenium.webdriver import ActionChains

    open_masks(window)
    time.sleep(2)  # the editor takes up its tools
    window.click("#editor [aria-label=Erase]")
    hand = ActionChains(window.driver, duration=0)
    hand.move_to_element_with_offset(window.one("#editor canvas"), -30, 0).click_and_hold()
    for _ in range(6):
        hand.move_by_offset(10, 4)
    hand.release().perform()
    until(lambda: "saved" in window.text("#status"))
    (mask,) = (server.project / "face_sets" / "ada" / "masks").glob("*.png")
    drawn = mask.read_bytes()
    server.kill()
    killed = time.monotonic()
    until(lambda: "The server is gone" in window.text("#gone"))
    print(f"the page said so after {time.monotonic() - killed:.1f} s")
    window.screen("gone")
    window.open(server.start())
    open_masks(window)
    assert mask.read_bytes() == drawn
    assert "painted" in window.text("#heading .state")


def test_profiles_are_blended_interpolated_and_deleted(server: Server, window: Window) -> None:
    window.tab("People")
    for place in ("#profiles", "#deletion"):
        window.click(f"{place} .label-wrap")
    until(lambda: "has run out" in window.text("#deletion"))
    for name in ("ada", "cleo"):
        window.type("#profiles_chosen input", name, "\n")
    window.type("#profiles_name input, #profiles_name textarea", "mixed")
    window.type("#profiles_weights input, #profiles_weights textarea", "0.7 0.3")
    window.press("#profiles", "Blend")
    until((server.project / "profiles" / "mixed.json").is_file)
    window.type("#profiles_name input, #profiles_name textarea", "between")
    window.press("#profiles", "Interpolate")
    until((server.project / "profiles" / "between.json").is_file)
    until(lambda: all(name in window.text("#profiles table") for name in ("mixed", "between")))
    window.screen("profiles")
    window.type("#purge_name input, #purge_name textarea", "ada")
    window.press("#deletion", "List")
    until(lambda: "profiles/mixed.json" in window.text("#purge_list"))
    assert "face_sets/ada" in window.text("#purge_list")
    window.press("#deletion", "Delete for good")
    until(lambda: "type ada again" in window.text("body"))
    assert (server.project / "profiles" / "ada.json").is_file()
    window.screen("purge")
    window.type("#purge_sure input, #purge_sure textarea", "ada")
    window.press("#deletion", "Delete for good")
    until(lambda: not (server.project / "profiles" / "ada.json").exists())
    until(lambda: not list((server.project / "face_sets").glob("ada/*/meta.json")))
    assert (server.project / "profiles" / "cleo.json").is_file()
