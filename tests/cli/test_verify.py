import json

import numpy as np
import pytest
from skimage import data

from facesmith.cli.provenance import CHANGED, MARKED, UNMARKED, UNREADABLE, main
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark

MARK = Mark(identity="ada", consent="written", model_hash="ab" * 32, title="face swap of scene.png")


@pytest.fixture
def files(tmp_path):
    portrait = np.ascontiguousarray(data.astronaut()[:128, 128:256])
    names = {name: tmp_path / f"{name}.png" for name in ("marked", "changed", "unmarked", "resaved", "text")}
    write_image(names["marked"], portrait, mark=MARK)
    write_image(names["unmarked"], portrait, mark=None)
    content = bytearray(names["marked"].read_bytes())
    content[len(content) // 2] ^= 4
    names["changed"].write_bytes(content)
    # another program that copies the metadata and knows no manifests
    from PIL import Image, PngImagePlugin

    with Image.open(names["marked"]) as picture:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", picture.info["xmp"].decode())
        picture.save(names["resaved"], pnginfo=text)
    names["text"].write_text("no picture")
    return names


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("marked", MARKED, ["marked as synthetic, signed, and unchanged", "identity:   ada, consent: written"]),
        ("changed", CHANGED, ["CHANGED since it was signed", "assertion.dataHash.mismatch"]),
        ("unmarked", UNMARKED, ["nothing states that it is synthetic"]),
        ("resaved", UNMARKED, ["the signature is gone", "identity:   ada"]),
    ],
)
def test_verify_explains_each_state(files, capsys, name, code, words):
    assert main(["verify", str(files[name])]) == code
    output = capsys.readouterr().out
    for word in words:
        assert word in output
    if name == "marked":
        assert "sha256 " + "ab" * 32 in output
        assert "the key made on this computer" in output
        assert "a real scene with synthetic parts" in output


def test_verify_several_files_exit_code_is_the_gravest(files, capsys):
    assert main(["verify", str(files["marked"]), str(files["marked"])]) == MARKED
    assert main(["verify", str(files["marked"]), str(files["unmarked"])]) == UNMARKED
    assert main(["verify", str(files["text"]), str(files["unmarked"])]) == UNREADABLE
    assert "text.png: is neither image nor video" in capsys.readouterr().err
    assert main(["verify", *map(str, files.values())]) == CHANGED


def test_verify_json_and_trust(files, capsys):
    main(["verify", str(files["marked"]), "json=true"])
    output = json.loads(capsys.readouterr().out)
    assert (output["state"], output["trust"], output["mark"]["identity"], output["exit_code"]) == (
        "signed",
        "own",
        "ada",
        0,
    )
    assert main(["verify", f"trust={files['text']}", str(files["marked"])]) == UNREADABLE
    assert "holds no PEM certificate" in capsys.readouterr().err
