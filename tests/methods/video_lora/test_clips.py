"""Pairs, clips, and what became of each stretch of video."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.clips import Clip, ClipReport, cut_clips, pair_videos, read_clip, write_table


def write_video(path: Path, frames: int, size: tuple[int, int] = (48, 64), fps: float = 16.0) -> Path:
    """Write frames whose grey level is their number."""
    with VideoWriter(path, mark=None, fps=fps, crf=1) as writer:
        for number in range(frames):
            writer.write(np.full((*size, 3), 20 + number, np.uint8))
    return path


def write_pair(folder: Path, stem: str, frames: int, size: tuple[int, int] = (48, 64), fps: float = 16.0) -> None:
    write_video(folder / f"{stem}.mp4", frames, size, fps)
    write_video(folder / f"{stem}_pose.mp4", frames, size, fps)


def cut_folder(
    folder: Path,
    sizes: Sequence[tuple[int, int]] = ((32, 48), (48, 32)),
    fps: float | None = None,
    unpaired: Literal["leave_out", "refuse"] = "refuse",
) -> tuple[list[Clip], list[ClipReport]]:
    pairs, skipped = pair_videos(folder, folder, unpaired)
    clips, reports = cut_clips(pairs, frames=9, min_frames=5, stride=9, sizes=sizes, fps=fps, step=4, unpaired=unpaired)
    return clips, [*reports, *skipped]


def test_pair_videos_one_folder_finds_poses_and_prompts(tmp_path: Path) -> None:
    write_pair(tmp_path, "dance_2", 5)
    write_pair(tmp_path, "dance_10", 5)
    (tmp_path / "dance_2.txt").write_text("a person\n dancing\n")
    pairs, skipped = pair_videos(tmp_path, tmp_path, "refuse")
    assert not skipped
    assert [one.stem for one in pairs] == ["dance_2", "dance_10"]
    assert [one.prompt for one in pairs] == ["a person dancing", None]
    assert pairs[1].pose.name == "dance_10_pose.mp4"


def test_pair_videos_of_one_name_in_two_folders_are_both_kept(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        write_video(tmp_path / "dances" / name / "clip.mp4", 5 + number)
        write_video(tmp_path / "poses" / name / "clip_pose.mp4", 5 + number)
    pairs, skipped = pair_videos(tmp_path / "dances", tmp_path / "poses", "refuse")
    assert not skipped
    assert [pair.stem for pair in pairs] == ["a__clip", "b__clip"]
    assert [pair.pose.parent.name for pair in pairs] == ["a", "b"]
    _, reports = cut_clips(
        pairs, frames=5, min_frames=5, stride=5, sizes=[(32, 48)], fps=None, step=4, unpaired="refuse"
    )
    assert {report.video for report in reports} == {"a/clip.mp4", "b/clip.mp4"}
    (tmp_path / "poses" / "a").rename(tmp_path / "poses" / "c")
    (tmp_path / "poses" / "b").rename(tmp_path / "poses" / "d")
    with pytest.raises(UserError, match=r"several videos of this name for a/clip\.mp4, b/clip\.mp4"):
        pair_videos(tmp_path / "dances", tmp_path / "poses", "refuse")


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        ("\ufeffa dance\n".encode(), "a dance"),
        ("café, naïve – tänzerin".encode("cp1252"), "café, naïve – tänzerin"),
        ("a dance".encode("utf-16"), "a dance"),
        (b"", None),
    ],
)
def test_pair_videos_captions_of_any_editor_are_read(tmp_path: Path, content: bytes, prompt: str | None) -> None:
    write_pair(tmp_path, "one", 5)
    (tmp_path / "one.txt").write_bytes(content)
    assert pair_videos(tmp_path, tmp_path, "refuse")[0][0].prompt == prompt


def test_pair_videos_caption_that_is_no_text_is_named(tmp_path: Path) -> None:
    write_pair(tmp_path, "one", 5)
    (tmp_path / "one.txt").write_bytes(bytes(64))
    with pytest.raises(UserError, match=r"one\.txt: is no text"):
        pair_videos(tmp_path, tmp_path, "refuse")


def test_pair_videos_missing_partners_names_all_in_one_line(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 5)
    write_video(tmp_path / "b.mp4", 5)
    write_video(tmp_path / "c_pose.mp4", 5)
    with pytest.raises(UserError) as caught:
        pair_videos(tmp_path, tmp_path, "refuse")
    text = str(caught.value)
    assert "b.mp4" in text
    assert "c_pose.mp4" in text
    assert "data.make_poses=true" in text
    assert "\n" not in text


def test_write_table_lists_every_stretch(tmp_path: Path) -> None:
    write_pair(tmp_path, "long", 21)
    write_pair(tmp_path, "short", 7, size=(64, 48))
    write_pair(tmp_path, "tiny", 3)
    clips, reports = cut_folder(tmp_path)
    assert [clip.bucket for clip in clips] == [(9, 32, 48), (9, 32, 48), (5, 48, 32)]
    summary = write_table(reports, tmp_path / "clips.csv")
    assert summary.startswith("3 clips (2 of 9 x 32 x 48, 1 of 5 x 48 x 32); skipped 3 stretches")
    assert sum(report.frames for report in reports) == 21 + 7 + 3
    assert (tmp_path / "clips.csv").read_text().count("\n") == 7


def test_read_clip_at_half_rate_takes_every_second_frame(tmp_path: Path) -> None:
    write_pair(tmp_path, "dance", 33, fps=32.0)
    clips, _ = cut_folder(tmp_path, fps=16.0)
    assert clips[0].indices == tuple(range(0, 18, 2))
    frames = read_clip(clips[0], clips[0].pair.video)
    assert frames.shape == (9, 32, 48, 3)
    assert np.abs(frames.mean((1, 2, 3)) - 20 - np.arange(0, 18, 2)).max() < 2


def test_cut_clips_poses_of_another_video_raises(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 9)
    write_video(tmp_path / "a_pose.mp4", 12)
    with pytest.raises(UserError, match=r"a_pose.mp4: has 12 frames, a.mp4 has 9"):
        cut_folder(tmp_path)
    write_video(tmp_path / "a_pose.mp4", 9, size=(64, 48))
    with pytest.raises(UserError, match=r"a_pose.mp4: is 48x64, a.mp4 is 64x48"):
        cut_folder(tmp_path)


def test_cut_clips_unfit_videos_are_skipped_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pair(tmp_path, "good", 9)
    write_video(tmp_path / "alone.mp4", 9)
    write_video(tmp_path / "ghost_pose.mp4", 9)
    write_video(tmp_path / "odd.mp4", 9)
    write_video(tmp_path / "odd_pose.mp4", 12)
    write_video(tmp_path / "broken_pose.mp4", 9)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with caplog.at_level(logging.WARNING):
        clips, reports = cut_folder(tmp_path, unpaired="leave_out")
    assert [clip.pair.stem for clip in clips] == ["good"]
    reasons = {report.video: report.why for report in reports if report.used_as == "left out"}
    assert (reasons["alone.mp4"], reasons["ghost_pose.mp4"]) == ("no pose video", "no dance video")
    assert "has 12 frames, odd.mp4 has 9" in reasons["odd.mp4"]
    assert "broken.mp4" in reasons["broken.mp4"]
    lines = [record.getMessage() for record in caplog.records]
    assert any("no pose video for alone.mp4" in line and "no dance video for ghost_pose.mp4" in line for line in lines)
    assert any("odd_pose.mp4: has 12 frames" in line and line.endswith("skipped") for line in lines)
    assert write_table(reports, tmp_path / "clips.csv").startswith("1 clip (1 of 9 x 32 x 48); skipped 4 stretches")
    (tmp_path / "good_pose.mp4").unlink()
    with pytest.raises(UserError, match=r"data.videos: no pair is left; the first: .*broken.mp4"):
        cut_folder(tmp_path, unpaired="leave_out")


def test_cut_clips_black_poses_raises(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 9)
    with VideoWriter(tmp_path / "a_pose.mp4", mark=None, fps=16.0) as writer:
        for _ in range(9):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"a_pose.mp4: is black, nobody is drawn; draw the poses of a.mp4 again"):
        cut_folder(tmp_path)


def test_cut_clips_all_too_short_raises(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 3)
    with pytest.raises(UserError, match=r"the longest is a.mp4 \(3 frames, 5 are needed\); give longer videos"):
        cut_folder(tmp_path)
