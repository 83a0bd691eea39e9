import numpy as np
import pytest
from PIL import Image

from facesmith.errors import MediaError, UserError
from facesmith.media.video import VideoReader, open_video

from .stamped import HEIGHT, WIDTH, irregular, number_of, picture

OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:keyint=24:b-adapt=2:b-pyramid=normal"}
VIDEOS = {
    "cfr.mp4": {},
    "vfr.mp4": {"times": irregular},
    "vfr.mkv": {"times": irregular},
    "open_gop.mp4": {"options": OPEN_GOP},
    "open_gop.mkv": {"options": OPEN_GOP},
    "open_gop.ts": {"options": OPEN_GOP},
    "cfr.ts": {},
    "cfr.mov": {"rotation": 90},
    "h264.avi": {"base": 25},
    "mpeg4.avi": {"codec": "mpeg4", "base": 25, "options": {"bf": "2", "g": "20"}},
    "vp9.webm": {"codec": "libvpx-vp9", "base": 1000, "options": {"deadline": "realtime", "cpu-used": "8"}},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
}


def upright(name, image):
    """Undo the rotation of cfr.mov so that its number can be read."""
    return np.rot90(image, -1) if name == "cfr.mov" else image


@pytest.mark.parametrize("name", VIDEOS)
def test_open_video_any_access_gives_exact_frames(make_video, name):
    path = make_video(name, **VIDEOS[name])
    with open_video(path) as reader:
        assert isinstance(reader, VideoReader)
        assert len(reader) == 90
        for index in np.random.default_rng(0).permutation(90)[:12]:
            ((got, image),) = reader.frames([index])
            assert got == index == number_of(upright(name, image))
        uniform = dict(reader.frames(range(0, 90, 7)))
        assert [number_of(upright(name, image)) for image in uniform.values()] == list(uniform)
        everything = dict(reader.frames(range(90)))
        assert [number_of(upright(name, image)) for image in everything.values()] == list(range(90))
        # Leaving pictures out must not change the others by a single level.
        assert all(np.array_equal(image, everything[index]) for index, image in uniform.items())
        assert reader.lost == []


@pytest.mark.parametrize("name", ["cfr.ts", "open_gop.ts", "open_gop.mkv", "vfr.mp4", "open_gop.mp4"])
def test_open_video_seeking_each_frame_is_exact(make_video, monkeypatch, name):
    monkeypatch.setattr("facesmith.media.packets._READ_ON", 0)
    with open_video(make_video(name, **VIDEOS[name])) as reader:
        for index in range(0, 90, 4):
            assert number_of(next(reader.frames([index]))[1]) == index
        assert [number_of(image) for _, image in reader.frames([3, 50, 88])] == [3, 50, 88]


def test_open_video_times_match_file(make_video):
    with open_video(make_video("vfr.mp4", times=irregular)) as reader:
        assert reader.times == pytest.approx([irregular(i) / 12800 for i in range(90)])
    with open_video(make_video("cfr.ts")) as reader:
        assert reader.times == pytest.approx(np.arange(90) / 25, abs=1e-4)
        assert reader.fps == pytest.approx(25)
        assert (reader.width, reader.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_open_video_applies_rotation(make_video, rotation):
    with open_video(make_video(f"turned{rotation}.mp4", 3, rotation=rotation)) as reader:
        image = next(reader.frames([2]))[1]
        assert image.shape[:2] == (reader.height, reader.width)
        # A mark of +90 shows the picture turned counter-clockwise by 90 degrees.
        assert number_of(np.rot90(image, -rotation // 90)) == 2
        assert reader.width == (WIDTH if rotation == 180 else HEIGHT)


@pytest.mark.parametrize(
    ("tags", "pix_fmt"), [({}, "yuv420p"), ({"colorspace": 1}, "yuv420p"), ({"color_range": 2}, "yuv444p")]
)
def test_open_video_colours_have_no_bias(tmp_path, tags, pix_fmt):
    import av
    from av.video.reformatter import ColorRange, Colorspace

    from facesmith.media.colour import to_rgb

    image = picture(0)[16:]
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv444p",
        dst_colorspace=Colorspace.ITU709 if tags.get("colorspace") else Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG if tags.get("color_range") else ColorRange.MPEG,
        src_color_range=ColorRange.JPEG,
    )
    frame.colorspace, frame.color_range = tags.get("colorspace", 2), tags.get("color_range", 1)
    difference = to_rgb(frame).astype(int) - image
    assert np.abs(difference).mean() < 1.5
    assert np.abs(difference.mean((0, 1))).max() < 0.5


def test_open_video_order_duplicates_and_bounds(make_video):
    with open_video(make_video("cfr.mp4")) as reader:
        assert [index for index, _ in reader.frames([5, 3, 5, 40])] == [3, 5, 40]
        assert list(reader.frames([])) == []
        with pytest.raises(IndexError, match=r"0\.\.89"):
            reader.frames([90])
        first = reader.frames([1, 2])
        next(first)
        next(reader.frames([7]))
        with pytest.raises(RuntimeError, match="newer"):
            next(first)


@pytest.mark.parametrize("name", ["cfr.mkv", "cfr.mp4", "cfr.ts"])
def test_open_video_damaged_middle_reports_loss(make_video, tmp_path, name):
    content = bytearray(make_video(name).read_bytes())
    damaged = tmp_path / name
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    damaged.write_bytes(content)
    with open_video(damaged) as reader:
        read = {round(reader.times[i] * 25): number_of(x) for i, x in reader.frames(range(len(reader)))}
        right = sum(shown == number for shown, number in read.items())
        assert right >= 55
        # Beside the hole FFmpeg may conceal one picture with what came before it; further ones are told.
        assert len(read) - right <= 1 or "may show errors" in " ".join(reader.lost)
        assert max(read) == 89
        assert any(words in " ".join(reader.lost) for words in ("missing", "cannot be decoded", "damaged"))


@pytest.mark.parametrize("name", ["cfr.mkv", "cfr.ts"])
def test_open_video_truncated_is_partly_read(make_video, tmp_path, name):
    content = make_video(name).read_bytes()
    short = tmp_path / name
    short.write_bytes(content[: len(content) * 2 // 3])
    with open_video(short) as reader:
        assert 40 < len(reader) < 90
        numbers = [number_of(image) for index, image in reader.frames(range(len(reader)))]
        assert numbers[:40] == list(range(40))


def test_open_video_truncated_faststart_reports_missing(make_video, tmp_path):
    content = make_video("front.mp4").read_bytes()
    import av

    front = tmp_path / "front.mp4"
    with (
        av.open(str(make_video("cfr.mp4"))) as source,
        av.open(str(front), "w", options={"movflags": "+faststart"}) as output,
    ):
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    content = front.read_bytes()
    front.write_bytes(content[: len(content) * 2 // 3])
    with open_video(front) as reader:
        assert 40 < len(reader) < 90
        assert any("missing" in line or "ended" in line for line in reader.lost)


def test_decord_plain_mp4_equals_pyav(make_video):
    path = make_video("cfr.mp4")
    with open_video(path, "decord") as theirs, open_video(path) as ours:
        assert theirs.times == pytest.approx(ours.times)
        for (index, a), (same, b) in zip(theirs.frames(range(0, 90, 7)), ours.frames(range(0, 90, 7)), strict=True):
            assert index == same == number_of(a)
            assert np.abs(a.astype(int) - b).mean() < 4


@pytest.mark.parametrize("name", ["open_gop.mp4", "cfr.ts", "vfr.mkv", "vp9.webm"])
def test_decord_inexact_file_is_refused(make_video, name):
    with pytest.raises(UserError, match=r"set media\.backend=pyav"):
        open_video(make_video(name, **VIDEOS[name]), "decord")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_open_video_animated_images(tmp_path, suffix):
    path = tmp_path / f"moving.{suffix}"
    pages = [Image.fromarray(picture(i)) for i in range(6)]
    options = {"lossless": True} if suffix == "webp" else {}
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=[40, 80, 40, 40, 120, 40], loop=0, **options)
    with open_video(path) as reader:
        assert len(reader) == 6
        assert reader.times == pytest.approx([0, 0.04, 0.12, 0.16, 0.2, 0.32])
        assert [number_of(image) for _, image in reader.frames([1, 4])] == [1, 4]
        assert (reader.width, reader.height) == (WIDTH, HEIGHT)
        with pytest.raises(IndexError):
            reader.frames([6])


def test_open_video_bad_file_explains_in_one_line(make_video, tmp_path):
    empty, text, folder = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "folder.mp4"
    empty.write_bytes(b"")
    text.write_text("not a video at all\n" * 50)
    folder.mkdir()
    sound = tmp_path / "sound.m4a.mp4"
    import av

    with av.open(str(sound), "w") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    half = tmp_path / "no_index.mp4"
    half.write_bytes(make_video("cfr.mp4").read_bytes()[:4000])
    cases = {empty: "0 bytes", text: "cannot be opened", sound: "only sound", half: "cannot be opened",
             folder: "cannot be read", tmp_path / "absent.mp4": "No such file"}  # fmt: skip
    for path, words in cases.items():
        with pytest.raises(MediaError, match=words) as caught:
            open_video(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"media\.backend"):
        open_video(make_video("cfr.mp4"), "opencv")
