import hashlib
import itertools
from pathlib import Path

import av
import pytest

from facesmith.errors import MediaError, UserError
from facesmith.files import partial_folder
from facesmith.media.encoders import Encoding
from facesmith.media.provenance import Mark
from facesmith.media.segments import SegmentedWriter
from facesmith.media.timeline import Timeline
from facesmith.media.verification import verify_provenance
from facesmith.media.video import open_video

from .stamped import irregular, number_of, picture

MARK = Mark(identity="ada", consent="synthetic", model_hash=None, title="numbers")


def writer(path, source, *, key="a", resume=False):
    return SegmentedWriter(
        path,
        Timeline.from_file(source),
        mark=MARK,
        key=key,
        frames=20,
        resume=resume,
        encoding=Encoding(preset="veryfast"),
    )


def write(target, source, *, stop=None, **options):
    with open_video(source) as reader, writer(target, source, **options) as out:
        for index, image in reader.frames(range(out.start, len(reader))):
            if index == stop:
                raise KeyboardInterrupt
            out.write(image, index)
            out.tally.update(frames=1)
    return out


def packets(path):
    """Times of each packet of each stream; of sound its bytes too. x264 itself is not the same to the bit."""
    with av.open(str(path)) as container:
        return [
            (p.stream.type, p.pts * p.time_base, p.dts, p.duration * p.time_base, sound_in(p))
            for p in container.demux()
            if p.size
        ]


def sound_in(packet):
    return hashlib.sha256(bytes(packet)).hexdigest() if packet.stream.type == "audio" else ""


@pytest.fixture
def source(make_video):
    return make_video("sound_vfr.mp4", sound="aac", times=irregular)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_segmented_writer_resume_equals_uninterrupted(source, tmp_path, suffix):
    whole, stopped = tmp_path / f"whole{suffix}", tmp_path / f"stopped{suffix}"
    write(whole, source)
    for stop in (47, 71):
        with pytest.raises(KeyboardInterrupt):
            write(stopped, source, stop=stop, resume=stop > 47)
        assert not stopped.exists()
    assert write(stopped, source, resume=True).tally["frames"] == 90
    assert packets(stopped) == packets(whole)
    with open_video(source) as before, open_video(stopped) as after:
        assert after.times == pytest.approx(before.times, abs=6e-4 if suffix == ".mkv" else 1e-6)
        assert [number_of(image) for _, image in after.frames(range(90))] == list(range(90))
        assert not after.lost
    assert [one[-1] for one in packets(source) if one[-1]] == [one[-1] for one in packets(stopped) if one[-1]]
    decoder_times = [dts for kind, _, dts, *_ in packets(stopped) if kind == "video" and dts is not None]
    assert all(a < b for a, b in itertools.pairwise(decoder_times))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([whole.name, stopped.name])


def test_segmented_writer_suspended_segments_are_playable_and_marked(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(target, source, stop=45)
    left = sorted(partial_folder(target).glob("*.mp4"))
    assert [one.name for one in left] == ["segment_00000.mp4", "segment_00001.mp4"]
    for first, one in zip((0, 20), left, strict=True):
        with open_video(one) as reader:
            assert [number_of(image) for _, image in reader.frames(range(20))] == list(range(first, first + 20))
        assert verify_provenance(one).mark is not None


def test_segmented_writer_stopped_early_leaves_nothing(source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out.mp4", source, stop=10)
    assert list(tmp_path.iterdir()) == []


def test_segmented_writer_unfinished_run_is_not_overwritten(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(target, source, stop=45)
    with pytest.raises(UserError, match="resume=true to continue it"):
        writer(target, source)
    with pytest.raises(UserError, match="another source, model or settings"):
        writer(target, source, key="b", resume=True)
    held = writer(target, source, resume=True)
    with pytest.raises(UserError, match="another process"):
        writer(target, source, resume=True)
    assert held.start == 40
    held.suspend()
    assert len(list(partial_folder(target).glob("segment_*.mp4"))) == 2


def test_segmented_writer_unfit_sound_is_refused_early(make_video, tmp_path):
    spoken = make_video("spoken.mkv", 10, sound="pcm_u8")
    with pytest.raises(MediaError, match=r"cannot hold pcm_u8 sound; write an \.mkv"):
        writer(tmp_path / "out.mp4", spoken)
    assert list(tmp_path.iterdir()) == []


def test_segmented_writer_lost_frames_keep_their_place(source, tmp_path):
    target = tmp_path / "out.mp4"
    with open_video(source) as reader, writer(target, source) as out:
        for index, image in reader.frames([*range(15), *range(24, 50), *range(60, 90)]):
            out.write(image, index)
        times = reader.times
    with open_video(target) as after:
        kept = [*range(15), *range(24, 50), *range(60, 90)]
        assert [number_of(image) for _, image in after.frames(range(71))] == kept
        assert after.times == pytest.approx(times[kept], abs=1e-6)


def test_segmented_writer_animation_source_is_written(tmp_path):
    from PIL import Image

    source = tmp_path / "in.gif"
    pages = [Image.fromarray(picture(i)) for i in range(4)]
    pages[0].save(source, save_all=True, append_images=pages[1:], duration=[40, 80, 40, 200])
    write(tmp_path / "out.mp4", source)
    with open_video(tmp_path / "out.mp4") as reader:
        assert reader.times == pytest.approx([0, 0.04, 0.12, 0.16], abs=1e-3)


def test_segmented_writer_segment_without_record_is_made_again(source, tmp_path):
    whole, target = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    write(whole, source)
    for stop, break_it in (
        (65, lambda folder: (folder / "segment_00002.json").unlink()),  # killed between the two
        (85, lambda folder: (folder / "segment_00001.json").write_text('{"key": "a", "ta')),  # half written
        (85, lambda folder: (folder / "segment_00001.mp4").write_bytes(b"")),
    ):
        with pytest.raises(KeyboardInterrupt):
            write(target, source, stop=stop, resume=True)
        break_it(partial_folder(target))
        resumed = writer(target, source, resume=True)
        assert resumed.start == (40 if stop == 65 else 20)
        assert "have no whole record; begun again after segment" in resumed.notes[0]
        resumed.suspend()
    assert write(target, source, resume=True).tally["frames"] == 90
    assert packets(target) == packets(whole)


def test_segmented_writer_all_records_lost_begins_again(source, tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(target, source, stop=45)
    for record in partial_folder(target).glob("*.json"):
        record.unlink()
    finished = write(target, source, resume=True)
    assert "2 of 2 segments of the stopped run have no whole record" in finished.notes[0]
    assert finished.tally["frames"] == 90


def test_segmented_writer_longest_name_resumes(make_video, tmp_path):
    target = tmp_path / f"{'n' * 251}.mp4"
    source = make_video("thirty.mp4", 30)
    with pytest.raises(KeyboardInterrupt):
        write(target, source, stop=25)
    write(target, source, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_segmented_writer_names_that_look_like_addresses(make_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path("12:30.mp4")
    source.write_bytes(make_video("thirty.mp4", 30).read_bytes())
    write(Path("o:1.mp4"), source)
    assert verify_provenance(Path("o:1.mp4")).mark is not None
