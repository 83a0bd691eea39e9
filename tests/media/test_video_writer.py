import hashlib
import itertools
import stat

import av
import numpy as np
import pytest
from PIL import Image

from facesmith.errors import MediaError
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter

from .stamped import HEIGHT, WIDTH, irregular, number_of, picture

MARK = Mark(identity="ada", consent="synthetic", model_hash=None, title="numbers")


def sound_of(path):
    """Hash of all audio packets, and the time of the first."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
        return hashlib.sha256(b"".join(bytes(p) for p in packets)).hexdigest(), len(packets)


def lead_of(path):
    """How much later the first picture's packet is due than the first of the sound, in seconds."""
    first = {"video": float("inf"), "audio": float("inf")}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                kind = packet.stream.type
                first[kind] = min(first[kind], float(packet.pts * packet.time_base))
    return first["video"] - first["audio"]


def write_pictures(writer, pictures):
    for image in pictures:
        writer.write(image)


def write_and_fail(writer):
    writer.write(picture(0))
    raise ZeroDivisionError


def rewrite(source, target, mark=None):
    with open_video(source) as reader, VideoWriter(target, like=source, mark=mark) as writer:
        for index, image in reader.frames(range(len(reader))):
            writer.write(image, index)


@pytest.mark.parametrize(
    ("name", "suffix", "options"),
    [
        ("sound_cfr.mp4", ".mp4", {}),
        ("sound_vfr.mp4", ".mp4", {"times": irregular}),
        ("sound_vfr.mp4", ".mkv", {"times": irregular}),
        ("sound.ts", ".mp4", {}),
        ("sound.mkv", ".mov", {}),
    ],
)
def test_video_writer_keeps_times_and_sound(make_video, tmp_path, name, suffix, options):
    source = make_video(name, sound="aac", **options)
    target = tmp_path / f"out{suffix}"
    rewrite(source, target, mark=MARK)
    with open_video(source) as before, open_video(target) as after:
        # Matroska counts in whole milliseconds.
        assert after.times == pytest.approx(before.times, abs=6e-4 if suffix == ".mkv" else 1e-4)
        pairs = list(zip(before.frames(range(90)), after.frames(range(90)), strict=True))
        assert [number_of(image) for _, (_, image) in pairs] == list(range(90))
        differences = np.array([b.astype(int) - a for (_, a), (_, b) in pairs])
        assert np.abs(differences).mean() < 5
        assert abs(differences.mean()) < 0.5
    if name.endswith(".ts"):  # ADTS headers go, the frames inside stay
        assert sound_of(target)[1] == sound_of(source)[1]
    else:
        assert sound_of(target) == sound_of(source)
    with av.open(str(target)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert metadata["comment"] == MARK.sentence()
        assert container.streams.video[0].codec_context.name == "h264"
    assert lead_of(target) == pytest.approx(lead_of(source), abs=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_video_writer_keeps_last_duration(make_video, tmp_path):
    source = make_video("sound_vfr.mp4", sound="aac", times=irregular)
    rewrite(source, tmp_path / "out.mp4")

    def length(path):
        with av.open(str(path)) as container:
            return float(container.streams.video[0].duration * container.streams.video[0].time_base)

    assert length(tmp_path / "out.mp4") == pytest.approx(length(source), abs=1e-3)


def test_video_writer_rotated_source_is_upright(make_video, tmp_path):
    source = make_video("turned90.mp4", 3, rotation=90)
    target = tmp_path / "out.mp4"
    rewrite(source, target)
    with open_video(source) as before, open_video(target) as after:
        assert (after.width, after.height) == (before.width, before.height) == (HEIGHT, WIDTH)
        a, b = next(before.frames([2]))[1], next(after.frames([2]))[1]
        assert np.abs(a.astype(int) - b).mean() < 5


def test_video_writer_keeps_ten_bit_and_colour_tags(make_video, tmp_path):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 18, "color_range": 1}
    source = make_video("hlg.mp4", 4, pix_fmt="yuv420p10le", tags=tags)
    target = tmp_path / "out.mp4"
    rewrite(source, target)
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p10le"
        assert {key: int(getattr(context, key)) for key in tags} == tags


def test_video_writer_animation_or_no_source(tmp_path):
    source = tmp_path / "in.gif"
    pages = [Image.fromarray(picture(i)) for i in range(4)]
    pages[0].save(source, save_all=True, append_images=pages[1:], duration=[40, 80, 40, 200])
    rewrite(source, tmp_path / "out.mp4")
    with open_video(tmp_path / "out.mp4") as reader:
        assert reader.times == pytest.approx([0, 0.04, 0.12, 0.16], abs=1e-3)
    with VideoWriter(tmp_path / "free.mkv", fps=10, mark=None) as writer:
        for number in range(5):
            writer.write(picture(number, 161, 97))
    with open_video(tmp_path / "free.mkv") as reader:
        assert (reader.width, reader.height, len(reader)) == (161, 97, 5)
        assert reader.times == pytest.approx(np.arange(5) / 10, abs=1e-3)


def test_video_writer_exception_keeps_older_file(make_video, tmp_path):
    source = make_video("cfr.mp4")
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), VideoWriter(target, like=source, mark=None) as writer:
        write_and_fail(writer)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]
    with VideoWriter(tmp_path / "none.mp4", like=source, mark=None):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_video_writer_unwritable_explains(make_video, tmp_path):
    source = make_video("short.mp4", 3)
    with pytest.raises(MediaError, match=r"use one of \.mp4"):
        VideoWriter(tmp_path / "out.gif", like=source, mark=None)
    with (
        pytest.raises(MediaError, match="of 3 cannot be written"),
        VideoWriter(tmp_path / "out.mp4", like=source, mark=None) as writer,
    ):
        write_pictures(writer, itertools.repeat(picture(0)))
    with (
        pytest.raises(MediaError, match="one size"),
        VideoWriter(tmp_path / "out.mp4", like=source, mark=None) as writer,
    ):
        write_pictures(writer, [picture(0), picture(1, 64, 64)])
    spoken = make_video("spoken.mkv", 10, sound="pcm_u8")
    with pytest.raises(MediaError, match=r"cannot hold pcm_u8 sound; write an \.mkv"):
        rewrite(spoken, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
    rewrite(spoken, tmp_path / "out.mkv")
    assert sound_of(tmp_path / "out.mkv") == sound_of(spoken)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_video_writer_results_are_private(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    with VideoWriter(path, mark=None) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
        assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
