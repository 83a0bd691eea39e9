"""What a film carries beside its picture: flags, languages, subtitles, chapters, titles, HDR, shape of a pixel."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Disposition

from facesmith.media.encoders import CONTAINERS, Encoding, choose_encoder, choose_format, lost_properties
from facesmith.media.picture_properties import MasteringDisplay, PictureProperties
from facesmith.media.provenance import Mark
from facesmith.media.segments import SegmentedWriter
from facesmith.media.timeline import Timeline
from facesmith.media.video import open_video, read_planes

from .stamped import picture

MARK = Mark(identity="ada", consent="synthetic", model_hash=None, title="film")
MASTER = MasteringDisplay(((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)), (0.3127, 0.329), (0.005, 1000.0))
FRAMES, RATE = 50, 25


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds with 64:45 pixels, two languages (the second is the default), a subtitle and two chapters."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "My film", "artist": "me", "comment": "seen at home"})
        video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(64, 45)
        sounds = [container.add_stream("aac", rate=16000, layout="mono") for _ in range(2)]
        for sound, language in zip(sounds, ("eng", "deu"), strict=True):
            sound.metadata.update({"language": language, "title": f"in {language}"})
        sounds[0].disposition, sounds[1].disposition = Disposition(0), Disposition.default
        text = container.add_stream("mov_text")
        text.codec_context.subtitle_header = b"[Script Info]\n\n[V4+ Styles]\n\n[Events]\n"
        text.time_base = Fraction(1, 1000)
        text.metadata["language"] = "fra"
        base = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": i, "start": 1000 * i, "end": 1000 * (i + 1), "time_base": base, "metadata": {"title": name}}
                for i, name in enumerate(("One", "Two"))
            ]
        )
        for number in range(FRAMES):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, 160, 96), format="rgb24")))
        container.mux(video.encode(None))
        for sound in sounds:
            wave = np.sin(np.arange(32000) / 9).astype(np.float32)[None] / 2
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        words = Packet(b"\x00\x05hello")
        words.stream, words.time_base = text, Fraction(1, 1000)
        words.pts = words.dts = 200
        words.duration = 1000
        container.mux(words)
    return path


def rewrite(source, target, *, frames=None, encoding=None, **changes):
    with open_video(source) as reader:
        wanted = frames or range(len(reader))
        timeline = replace(Timeline.from_reader(reader).cut(wanted), **changes)
        with SegmentedWriter(
            target,
            timeline,
            mark=MARK,
            key="a",
            frames=20,
            resume=False,
            encoding=encoding or Encoding(preset="ultrafast"),
        ) as writer:
            for number, frame in read_planes(reader, wanted):
                writer.write(frame, number - wanted.start)
    return writer.notes


def subtitles(container):
    stream = container.streams.subtitles[0]
    return [
        (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p))
        for p in container.demux(stream)
        if p.size and p.pts is not None and b"hello" in bytes(p)
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_carried_streams_go_along(film, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    assert rewrite(film, target) == []
    with av.open(str(target)) as container:
        tags = {key.casefold(): value for key, value in container.metadata.items()}
        assert (tags["title"], tags["artist"]) == ("My film", "me")
        assert "seen at home" in tags["comment"]
        assert MARK.sentence() in tags["comment"]
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)
        sounds = container.streams.audio
        assert [sound.language for sound in sounds] == ["eng", "deu"]
        assert [bool(sound.disposition & Disposition.default) for sound in sounds] == [False, True]
        titles = [sound.metadata.get("title") or sound.metadata.get("name") for sound in sounds]
        assert titles == ["in eng", "in deu"]
        assert container.streams.subtitles[0].language == "fra"
        chapters = container.chapters()
        assert [chapter["metadata"]["title"] for chapter in chapters] == ["One", "Two"]
        assert [float(chapter["start"] * chapter["time_base"]) for chapter in chapters] == pytest.approx([0, 1])
        ((start, length, words),) = subtitles(container)
        assert (start, length) == pytest.approx((0.2, 1.0), abs=2e-3)
        assert words == (b"hello" if suffix == ".mkv" else b"\x00\x05hello")


def test_carried_streams_text_comes_back_from_mkv(film, tmp_path):
    rewrite(film, tmp_path / "once.mkv")
    assert rewrite(tmp_path / "once.mkv", tmp_path / "twice.mp4") == []
    with av.open(str(tmp_path / "twice.mp4")) as container:
        assert container.streams.subtitles[0].language == "fra"
        ((start, length, words),) = subtitles(container)
        assert (start, length) == pytest.approx((0.2, 1.0), abs=2e-3)
        assert words == b"\x00\x05hello"


def test_carried_streams_of_a_part_begin_at_its_start(film, tmp_path):
    target = tmp_path / "part.mp4"
    rewrite(film, target, frames=range(15, 40))
    with av.open(str(target)) as container:
        video = container.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(1.0)
        for sound in container.streams.audio:
            assert float(sound.duration * sound.time_base) == pytest.approx(1.0, abs=0.08)
        assert [float(c["end"] * c["time_base"]) for c in container.chapters()] == pytest.approx([0.4, 1.0], abs=1e-3)
        ((start, length, _),) = subtitles(container)
        assert (start, length) == pytest.approx((0, 0.6), abs=2e-3)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_time_code_goes_along_or_is_told_of_a_part(tmp_path, suffix):
    source = tmp_path / "source.mov"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        video.metadata["timecode"] = "10:00:00:00"
        for number in range(FRAMES):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, 160, 96), format="rgb24")))
        container.mux(video.encode(None))
    assert rewrite(source, tmp_path / f"whole{suffix}") == []
    with av.open(str(tmp_path / f"whole{suffix}")) as whole:
        tags = {key.casefold(): value for key, value in whole.streams.video[0].metadata.items()}
        assert tags["timecode"] == "10:00:00:00"
    (note,) = rewrite(source, tmp_path / f"part{suffix}", frames=range(10, 40))
    assert "the time code of another first frame" in note
    with av.open(str(tmp_path / f"part{suffix}")) as part:
        tags = part.metadata | part.streams.video[0].metadata
        assert not any(key.casefold() == "timecode" for key in tags)


def test_carried_streams_unfit_ones_are_named(film, tmp_path):
    """Subtitles of a kind that .mp4 cannot hold, and an attachment."""
    source = tmp_path / "styled.mkv"
    with av.open(str(film)) as before, av.open(str(source), "w") as container:
        video = container.add_stream_from_template(before.streams.video[0])
        styled = container.add_stream("ass")
        styled.codec_context.subtitle_header = b"[Script Info]\n\n[V4+ Styles]\n\n[Events]\n"
        styled.time_base = Fraction(1, 1000)
        styled.metadata["language"] = "fra"
        container.add_mux_stream("hdmv_pgs_subtitle")  # which .mp4 refuses only when it begins
        container.add_attachment("letters.ttf", "font/ttf", b"not a font")
        for packet in before.demux(before.streams.video[0]):
            if packet.size:
                packet.stream = video
                container.mux(packet)
    (note,) = rewrite(source, tmp_path / "out.mp4")
    assert ".mp4 cannot hold ssa subtitles (fra), pgssub subtitles, attachment letters.ttf" in note
    assert rewrite(source, tmp_path / "out.mkv") == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        kinds = [stream.type for stream in container.streams]
    assert (kinds.count("subtitle"), kinds.count("attachment")) == (2, 1)


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mp4"), ("hevc", ".mkv"), ("av1", ".mp4")])
def test_hdr_light_goes_along(make_video, tmp_path, codec, suffix):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    source = make_video("pq.mp4", 3, pix_fmt="yuv420p10le", tags=tags)
    light = PictureProperties(mastering=MASTER, content_light=(900, 300))
    target = tmp_path / f"out{suffix}"
    rewrite(source, target, encoding=Encoding(codec, preset="ultrafast"), picture=light)
    with open_video(target) as reader:
        found = reader.picture
        assert found.content_light == (900, 300)
        assert found.mastering is not None
        assert np.ravel(found.mastering.primaries) == pytest.approx(np.ravel(MASTER.primaries), abs=1e-4)
        assert found.mastering.luminance == pytest.approx((0.005, 1000), rel=0.05)
        assert (reader.colour.color_trc, reader.colour.colorspace) == (16, 9)
        told = lost_properties(found, Encoding(codec), suffix)
    assert [line for line in told if "codec=hevc" in line] == told
    assert len(told) == (1 if codec == "h264" else 0)


def test_rotation_goes_along(make_video, tmp_path):
    source = make_video("turned270.mp4", 3, rotation=270)
    rewrite(source, tmp_path / "out.mkv")
    with open_video(source) as before, open_video(tmp_path / "out.mkv") as after:
        assert (before.width, before.height) == (after.width, after.height)
        assert before.picture.display_matrix == after.picture.display_matrix
        a, b = next(before.frames([2]))[1], next(after.frames([2]))[1]
        assert np.abs(a.astype(int) - b).mean() < 5


def test_interlaced_fields_go_along_or_are_told(tmp_path):
    source = tmp_path / "fields.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 160, 96), format="rgb24")))
        container.mux(stream.encode(None))
    rewrite(source, tmp_path / "out.mp4")
    with open_video(source) as before, open_video(tmp_path / "out.mp4") as after:
        assert before.picture.interlaced
        assert after.picture.interlaced
        lost = lost_properties(before.picture, Encoding("hevc"), ".mp4")
    assert len(lost) == 1
    assert "codec=hevc does not mark its fields" in lost[0]


@pytest.mark.parametrize("codec", ["prores", "ffv1", "av1"])
def test_codecs_write_what_opens_again(make_video, tmp_path, codec):
    source = make_video("cfr.mp4")
    target = tmp_path / f"out{CONTAINERS[codec][0]}"
    rewrite(source, target, frames=range(30), encoding=Encoding(codec, preset="ultrafast"))
    with open_video(source) as before, open_video(target) as after:
        assert len(after) == 30
        assert after.times == pytest.approx(before.times[:30], abs=6e-4)
        pairs = zip(read_planes(before, range(30)), read_planes(after, range(30)), strict=True)
        for (_, a), (_, b) in pairs:
            if codec == "ffv1":  # lossless: what went in is what comes out
                for one, other in zip(a.planes, b.planes, strict=True):
                    np.testing.assert_array_equal(one.codes, other.codes)
            assert np.abs(a.rgb().astype(int) - b.rgb()).mean() < 6


def test_choose_format_keeps_what_the_encoder_can():
    def chosen(encoder, pix_fmt):
        return choose_format(encoder, av.VideoFormat(pix_fmt, 64, 64), 64, 64)

    assert [chosen("libx264", name) for name in ("yuvj420p", "yuv422p10le", "yuv420p12le", "yuva444p12le")] == [
        "yuvj420p",
        "yuv422p10le",
        "yuv420p10le",
        "yuv444p10le",
    ]
    assert chosen("prores_ks", "yuva444p12le") == "yuva444p10le"
    assert chosen("prores_ks", "yuv420p") == "yuv422p10le"
    assert choose_format("libx264", av.VideoFormat("yuv420p", 63, 41), 63, 41) == "yuv444p"


def test_choose_encoder_without_hardware_says_so():
    name, said = choose_encoder(Encoding("hevc", "videotoolbox"))
    if name == "libx265":
        assert "encoder=videotoolbox: hevc_videotoolbox cannot be used here" in (said or "")
    assert choose_encoder(Encoding("h264", "auto")) == ("libx264", None)
