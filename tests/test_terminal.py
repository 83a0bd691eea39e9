"""Lines that fit a terminal: commands are what they were to a shell, names are not cut."""

import io
import os
import shlex

import pytest
from rich.console import Console

from facesmith.terminal import print_line, wrap_text

COMMAND = "  facesmith infer task=swap 'model=my runs/ada.onnx' \"source=it's me.mp4\" output=swapped.mp4"


@pytest.mark.skipif(os.name == "nt", reason="its shells share no mark that continues a line")
@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_long_command_is_the_same_to_a_shell(width: int) -> None:
    wrapped = wrap_text(COMMAND, width)
    assert shlex.split(wrapped.replace("\\\n", " ")) == shlex.split(COMMAND)
    assert all(line.endswith(" \\") for line in wrapped.splitlines()[:-1])
    longest = max(map(len, ["'model=my runs/ada.onnx'", "facesmith"])) + len("      \\ ")
    assert max(map(len, wrapped.splitlines())) <= max(width, longest)


def test_a_name_that_is_wider_than_the_terminal_stays_whole() -> None:
    path = "runs/" + "x" * 60 + "/ada.onnx"
    assert path in wrap_text(f"  Look at  {path} and at others", 40)


def test_prose_is_whole_without_a_terminal_and_fits_one() -> None:
    text = "photos: 12 of 40 faces (7 blurred, 5 turned away) and 3 files, see face_sets/ada/contact_sheet.png"
    for terminal, most in ((False, len(text)), (True, 50)):
        file = io.StringIO()
        print_line(text, Console(file=file, force_terminal=terminal, width=50, color_system=None))
        lines = file.getvalue().splitlines()
        assert " ".join(lines) == text
        assert max(map(len, lines)) <= most


def test_a_name_that_fits_without_its_indentation_is_moved_to_the_left() -> None:
    path = "runs/" + "x" * 60 + "/renders/epoch_0000.png"
    lines = wrap_text(f"  Look at  {path}\n           {path} and others", len(path) + 1).splitlines()
    assert [line.strip() for line in lines] == ["Look at", path, path, "and others"]
    assert max(map(len, lines)) == len(path) + 1


@pytest.mark.skipif(os.name == "nt", reason="its shells share no mark that continues a line")
def test_an_argument_that_fits_without_indentation_is_moved_to_the_left() -> None:
    argument = "model=" + "x" * 70
    wrapped = wrap_text(f"  facesmith infer {argument} source=scene.mp4", 80)
    assert max(map(len, wrapped.splitlines())) <= 80
    assert shlex.split(wrapped.replace("\\\n", " ")) == ["facesmith", "infer", argument, "source=scene.mp4"]
