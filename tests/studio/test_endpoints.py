"""The page's actions by name, as another program calls them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from facesmith.errors import UserError
from facesmith.studio import worker
from facesmith.studio.media_checks import describe_problem
from facesmith.studio.people import keep_uploads
from facesmith.studio.people_tab import draw_grid
from facesmith.studio.project import Project

from .conftest import studio_client


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_endpoints_walk_of_a_project(ada: Project, tmp_path: Path) -> None:
    with studio_client(ada) as (client, plain):
        assert client.predict(api_name="/people") == ["ada"]
        before = client.predict("ada", api_name="/person")
        toggled = client.predict("ada", 3, api_name="/toggle_face")
        assert toggled == {"faces": before["faces"] - 1, "command": "facesmith faces ada leave-out 3"}
        assert client.predict("ada", api_name="/person")["left_out"] == [3]
        assert client.predict("ada", 3, api_name="/toggle_face")["command"].endswith("take-back 3")
        assert client.predict(api_name="/jobs") == []
        assert client.predict(api_name="/runs") == []
        assert "face_sets/ada" in client.predict("ada", api_name="/traces")
        sent = plain.post("/gradio_api/upload", files={"files": ("me.png", picture())}).json()
        assert client.predict(sent, "ada", api_name="/keep_uploads") == ["uploads/ada/me.png"]
        (tmp_path / "her.png").write_bytes(picture())
        sent = [handle_file(tmp_path / "her.png")]
        assert client.predict(sent, "ada", api_name="/keep_uploads") == ["uploads/ada/her.png"]
        assert client.predict("face_sets/ada", api_name="/leaderboard") == ""
        (opened,) = (ada.root / "face_sets" / "ada").glob("*/meta.json")
        assert client.predict(ada.short(opened.parent), api_name="/open_masks")
        assert plain.get("/painter/crop/0").headers["content-type"].startswith("image/")
        assert plain.get("/painter/crop/9999").status_code == 404
        for name, given, line in (
            ("/toggle_face", ("ada", 99), "face=99: there is no such face"),
            ("/person", ("nobody",), "nobody: has no faces yet"),
            ("/person", ("<b>x</b>",), "name=&lt;b&gt;x&lt;/b&gt;: use lower-case"),
            ("/run", ("../..",), "lies outside of the project"),
            ("/stop_job", ("x",), "job=x: there is no such job"),
            ("/extract", ("ada", ""), "consent: choose one of self"),
            ("/keep_uploads", ([7], "ada"), "is no upload"),
            ("/keep_uploads", ([str(ada.root / "face_sets")], "ada"), "is no upload"),
            ("/preview", ({"model": "/etc/passwd", "target": "x"},), "model=/etc/passwd: lies outside"),
            ("/preview", ({"modell": "x"},), "modell: no such field"),
            ("/dance", ({"model": "x"},), "model=x: there is no such file"),
            ("/blend", (["ada"], "both"), "profiles: choose two or more"),
            ("/delete_person", ("ada", "adda"), "deletion: type ada again"),
            ("/compare", (["no_run"],), "the folder of this run is gone"),
            ("/open_masks", ("../x",), "lies outside of the project"),
        ):
            with pytest.raises(AppError, match=line):
                client.predict(*given, api_name=name)
        crop = next((ada.root / "face_sets" / "ada").rglob("*.jpg"), None) or next(ada.root.rglob("*.png"))
        assert plain.get(f"/studio/file/{ada.short(crop)}").status_code == 200
        (ada.root / "secret.env").write_text("x")
        (ada.root / "link.png").symlink_to("/etc/passwd")
        for place in ("secret.env", "link.png", "../../etc/passwd", "%2Fetc%2Fpasswd", "no.png", f"{'a' * 300}.png"):
            assert plain.get(f"/studio/file/{place}").status_code in (403, 404), place


def test_pulse_beats_and_changes_with_a_job(project: Project) -> None:
    with studio_client(project) as (_, plain), plain.stream("GET", "/studio/pulse") as pulse:
        words = (line for line in pulse.iter_lines() if line)
        first = next(words)
        folder = project.jobs / "2026"
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps({"words": ["x"], "lane": "use"}))
        assert any(next(words) != first for _ in range(3))


def test_keep_uploads_takes_media_alone_and_keeps_them_private(project: Project, tmp_path: Path) -> None:
    picture, broken, text = tmp_path / "me <b>.png", tmp_path / "cut.jpg", tmp_path / "notes.txt"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    broken.write_bytes(b"\xff\xd8\xff half a picture")
    text.write_text("hello")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    folder = project.uploads("ada")
    kept, refused = keep_uploads(project, folder, [str(picture), str(broken), str(text), str(film)])
    assert [path.name for path in kept] == ["me <b>.png"]
    assert (kept[0].stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [line.partition(":")[0] for line in refused] == ["cut.jpg", "notes.txt", "film.mp4"]
    assert not broken.exists()
    assert not text.exists()
    with pytest.raises(UserError, match="use lower-case"):
        project.uploads("../x")


def test_keep_uploads_refuses_a_file_that_takes_too_long_and_takes_the_next(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picture(name: str) -> Path:
        Image.effect_noise((2000, 2000), 90).save(tmp_path / name)
        return tmp_path / name

    folder = project.uploads("ada")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_LEAST", 0.001)
        patch.setattr(worker, "_SLOWEST", 1e12)
        kept, refused = keep_uploads(project, folder, [str(picture("slow.png"))])
    assert (kept, list(tmp_path.glob("slow.png"))) == ([], [])
    assert refused == ["slow.png: took more than 0 seconds and was stopped; convert the file, or omit it"]
    kept, refused = keep_uploads(project, folder, [str(picture("next.png"))])
    assert ([path.name for path in kept], refused) == (["next.png"], [])


def test_describe_problem_names_what_is_wrong(tmp_path: Path) -> None:
    program = tmp_path / "virus.exe"
    program.write_bytes(b"MZ")
    assert describe_problem(program) == "is no picture or video; give .png, .jpg, .jpeg, .webp, .mp4, .mov"


def test_draw_grid_shows_names_as_text(ada: Project) -> None:
    from facesmith.studio.people import newest_set

    faces = newest_set(ada, "ada")
    rows = faces.selected.to_pydict()
    rows["source"] = ["/x/<script>alert(1)</script>.mp4"] * len(faces.selected)
    import pyarrow as pa

    faces.__dict__["selected"] = pa.table(rows, schema=faces.selected.schema)
    drawn = draw_grid(ada, faces, "number")
    assert "<script" not in drawn
    assert drawn.count("data-face") == len(faces)
