"""Nothing writes a picture or video past the marking: the source is read, not trusted."""

import ast
from pathlib import Path

import facesmith

SOURCE = Path(facesmith.__file__).parent
ROOT = SOURCE.parents[1]
FILES = sorted([*SOURCE.rglob("*.py"), *(ROOT / name for name in ("train.py", "infer.py", "export.py"))])

WRITERS = {"imwrite", "imwritemulti", "imencode", "imsave", "mimsave", "mimwrite", "save_image", "write_video"}
WRITERS |= {"write_png", "write_jpeg", "encode_png", "encode_jpeg", "VideoWriter_fourcc", "export_to_video", "savefig"}
WRITERS |= {"export_to_gif", "to_image_file", "get_writer", "write_gif"}
# No synthetic faces: JPEG crops of photographs as they were taken, inside a face set; painted masks.
ALLOWED = {
    ("faces/face_set/analysis.py", "imencode"),
    ("annotate/masks.py", "save"),
    ("annotate/import_export.py", "save"),
}


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    return str(path.relative_to(SOURCE)) if path.is_relative_to(SOURCE) else path.name


def called(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def writes(path):
    """The calls of a file that could write a picture or video."""
    whole = tree(path)
    imports = {alias.name for node in ast.walk(whole) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(whole) if isinstance(node, ast.ImportFrom)}
    has_pillow = any(name.split(".")[0] in ("PIL", "pillow_heif") for name in imports)
    for call in (node for node in ast.walk(whole) if isinstance(node, ast.Call)):
        name = called(call)
        given = [*call.args[1:], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
        opens = any(isinstance(one, ast.Constant) and str(one.value)[:1] in ("w", "x", "a") for one in given)
        is_av = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "av"
        if name in WRITERS or (name == "save" and has_pillow) or (is_av and name == "open" and opens):
            yield call.lineno, name


def test_marking_only_media_writes_pictures():
    outside = [path for path in FILES if not name_of(path).startswith("media/")]
    found = [
        f"{path}:{line}: {name}: use media.images.write_image or media.video_writer.VideoWriter"
        for path in outside
        for line, name in writes(path)
        if (name_of(path), name) not in ALLOWED
    ]
    assert not found


def test_marking_search_finds_writers(tmp_path):
    path = tmp_path / "sly.py"
    path.write_text(
        "import av, cv2\nfrom PIL import Image\n"
        "cv2.imwrite('a.png', x)\nImage.fromarray(x).save('a.png')\nav.open('a.mp4', mode='w')\nav.open('b.mp4')\n"
    )
    assert [name for _, name in writes(path)] == ["imwrite", "save", "open"]


def test_marking_media_writers_sign():
    for path in (SOURCE / "media").glob("*.py"):
        if path.name != "provenance.py" and any(True for _ in writes(path)):
            signs = [
                call for call in ast.walk(tree(path)) if isinstance(call, ast.Call) and called(call) == "sign_file"
            ]
            assert signs, f"{path}: writes without signing"


def test_marking_callers_state_mark():
    for path in FILES:
        for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
            if called(call) in ("write_image", "encode_image", "VideoWriter"):
                said = [one.arg for one in call.keywords]
                assert "mark" in said, f"{path}:{call.lineno}: {called(call)} without mark="


def test_marking_only_photographs_are_unmarked():
    unmarked = {
        name_of(path)
        for path in FILES
        for call in ast.walk(tree(path))
        if isinstance(call, ast.Call)
        for one in call.keywords
        if one.arg == "mark" and isinstance(one.value, ast.Constant) and one.value.value is None
    }
    # masks and what lies under them show no face that was made; toy_wan draws puppets that are nobody
    photographs = {"faces/face_set/contact_sheet.py", "tasks/mask/task.py"}
    photographs.add("tasks/evaluate/people.py")  # of the sources, packed in memory
    photographs.add("methods/video_lora/adapter_bundle.py")  # the reference photos, as they were given
    assert unmarked <= photographs | {f"methods/video_lora/toy_wan/{name}.py" for name in ("data", "train_base")}
