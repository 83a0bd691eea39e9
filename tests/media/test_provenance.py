import contextlib
import datetime
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from skimage import data

from facesmith.errors import UserError
from facesmith.media import provenance, signing_key
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark, check_signing, set_signing_key, sign_file
from facesmith.media.verification import verify_provenance

MARK = Mark(identity="ada", consent="written", model_hash="ab" * 32, title="face swap of scene.mp4")


@pytest.fixture
def portrait(tmp_path):
    path = tmp_path / "portrait.png"
    write_image(path, data.astronaut()[:128, 128:256], mark=MARK)
    return path


def film(path, metadata=None):
    with av.open(str(path), "w", container_options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
        for packet in [p for f in frames for p in stream.encode(av.VideoFrame.from_ndarray(f))] + stream.encode(None):
            container.mux(packet)
    return path


def remux(source, target):
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        after.metadata.update(before.metadata)
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_sign_file_video_plays_and_shows_changed_byte(tmp_path, suffix):
    path = film(tmp_path / f"a.{suffix}", MARK.metadata())
    size = path.stat().st_size
    sign_file(path, MARK)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert 2000 < path.stat().st_size - size < 6000
    found = verify_provenance(path)
    assert (found.state, found.mark, found.trust, found.synthetic) == ("signed", MARK, "own", True)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 5

    bytes_ = bytearray(path.read_bytes())
    bytes_[-2000] ^= 1  # of the pictures; the last thousand are the signature's
    path.write_bytes(bytes_)
    found = verify_provenance(path)
    assert found.state == "changed"
    assert any("mismatch" in problem for problem in found.problems)


def test_verify_provenance_remux_leaves_metadata(tmp_path):
    path = film(tmp_path / "a.mp4", MARK.metadata())
    sign_file(path, MARK)
    remux(path, tmp_path / "b.mkv")
    assert (verify_provenance(tmp_path / "b.mkv").state, verify_provenance(tmp_path / "b.mkv").mark) == (
        "metadata",
        MARK,
    )
    remux(path, tmp_path / "c.mp4")
    found = verify_provenance(tmp_path / "c.mp4")
    assert found.signable
    assert found.state in ("metadata", "unmarked")


def test_sign_file_unsignable_container_needs_metadata(tmp_path):
    with pytest.raises(ValueError, match="no metadata was written"):
        sign_file(film(tmp_path / "bare.mkv"), MARK)
    marked = film(tmp_path / "marked.mkv", MARK.metadata())
    sign_file(marked, MARK)
    assert verify_provenance(marked).mark == MARK


def test_verify_provenance_changed_pixels_and_other_name(portrait, tmp_path):
    bytes_ = bytearray(portrait.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    changed = tmp_path / "changed.png"
    changed.write_bytes(bytes_)
    assert verify_provenance(changed).state == "changed"
    assert verify_provenance(shutil.copy(portrait, tmp_path / "renamed.jpg")).state == "signed"


def test_load_self_signed_is_private_and_made_once(portrait):
    folder = signing_key.key_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.glob("*.pem")} == {0o600}
    before = (folder / "certificate.pem").read_bytes()
    signing_key.load_self_signed.cache_clear()
    assert signing_key.load_self_signed().certificates == before
    assert before.count(b"BEGIN CERTIFICATE") == 2


def test_verify_provenance_foreign_self_signed_is_self_made(portrait, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    assert (verify_provenance(portrait).state, verify_provenance(portrait).trust) == ("signed", "self_made")


@pytest.fixture
def own_chain(tmp_path, monkeypatch):
    """A chain of the user's: made the same way, in another place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    signing_key.load_self_signed.cache_clear()
    signing_key.load_self_signed()
    folder = signing_key.key_folder()
    monkeypatch.undo()
    signing_key.load_self_signed.cache_clear()
    yield folder
    set_signing_key(None, None)


def test_set_signing_key_own_chain_is_trusted(own_chain, tmp_path):
    set_signing_key(own_chain / "certificate.pem", own_chain / "key.pem")
    path = tmp_path / "a.jpg"
    write_image(path, data.astronaut()[:64, :64], mark=MARK)
    roots = (own_chain / "roots.pem").read_text()
    assert verify_provenance(path, roots).trust == "trusted"
    assert verify_provenance(path).trust == "self_made"  # not by this computer's root
    set_signing_key(None, None)
    write_image(path, data.astronaut()[:64, :64], mark=MARK)
    assert verify_provenance(path, roots).trust == "own"


def test_set_signing_key_unusable_is_refused_early(own_chain, tmp_path):
    chain, key = own_chain / "certificate.pem", own_chain / "key.pem"
    other = signing_key.key_folder()
    signing_key.load_self_signed()
    for certificate, private, words in (
        (chain, None, "key: is missing"),
        (None, key, "certificate: is missing"),
        (tmp_path / "no.pem", key, "No such file"),
        (key, key, "holds no PEM certificate"),
        (chain, chain, "holds no PEM private key"),
        (chain, other / "key.pem", "does not belong"),
        (own_chain / "roots.pem", key, "does not belong"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            set_signing_key(certificate, private)
        assert "\n" not in str(caught.value)
    assert provenance._chosen is None


def test_sign_file_keeps_file_mode(tmp_path):
    path = film(tmp_path / "a.mp4", MARK.metadata())
    path.chmod(0o640)
    sign_file(path, MARK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_verify_provenance_broken_file_is_changed(portrait):
    whole = portrait.read_bytes()
    portrait.write_bytes(b"\0" * 16 + whole[16:])
    assert verify_provenance(portrait).state == "changed"


def test_verify_provenance_other_file_explains_in_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match="neither image nor video"):
        verify_provenance(tmp_path / "a.txt")
    with pytest.raises(UserError, match="cannot be read"):
        verify_provenance(tmp_path / "none.png")


def test_sign_file_memory_is_constant(tmp_path):
    small = film(tmp_path / "small.mp4", MARK.metadata())
    large = tmp_path / "large.mov"
    noise = np.random.default_rng(0).integers(0, 255, (1620, 1920), np.uint8)
    with av.open(str(large), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuvj420p"
        stream.options = {"qmin": "1", "qmax": "1"}
        frame = av.VideoFrame.from_ndarray(noise, format="yuvj420p")
        (picture,) = [*stream.encode(frame), *stream.encode(None)]
        for number in range(40):
            packet = av.Packet(bytes(picture))
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = picture.time_base
            container.mux(packet)
    assert large.stat().st_size > 80e6
    script = Path(__file__).with_name("peak_of_signing.py")
    run = subprocess.run(
        [sys.executable, str(script), str(small), str(large)], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 40
    assert verify_provenance(large).state == "signed"


def test_verify_provenance_expired_certificate_is_no_change(tmp_path, monkeypatch):
    monkeypatch.setattr(signing_key, "_RENEWAL", datetime.timedelta(0))
    for seconds in (2, 10, 60):  # longer where signing takes longer than the certificate lives
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / f"{seconds}_seconds"))
        monkeypatch.setattr(signing_key, "_LIFETIME", datetime.timedelta(seconds=seconds))
        signing_key.load_self_signed.cache_clear()
        path = film(tmp_path / f"{seconds}.mp4", MARK.metadata())
        began = time.monotonic()
        with contextlib.suppress(UserError):
            sign_file(path, MARK)
            if time.monotonic() - began < seconds:
                break
    time.sleep(max(0.0, began + seconds + 1.1 - time.monotonic()))
    found = verify_provenance(path)
    signing_key.load_self_signed.cache_clear()
    assert found.state == "signed"
    assert any("expired" in problem for problem in found.problems)


@pytest.fixture
def key_elsewhere(tmp_path, monkeypatch):
    """Keep the self-signed chain in a folder of this test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "keys"))
    signing_key.load_self_signed.cache_clear()
    check_signing.cache_clear()
    yield signing_key.key_folder()
    signing_key.load_self_signed.cache_clear()
    check_signing.cache_clear()


@pytest.mark.parametrize("years", [34, -34])
def test_check_signing_key_of_a_wrong_clock_is_replaced(key_elsewhere, monkeypatch, years):
    wrong = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * years)
    with monkeypatch.context() as clock:
        clock.setattr(signing_key, "_now", lambda: wrong)
        before = signing_key.load_self_signed().certificates
    signing_key.load_self_signed.cache_clear()
    check_signing()
    assert (key_elsewhere / "certificate.pem").read_bytes() != before
    assert before.count(b"END") == 2


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nxx", "other"])
def test_check_signing_damaged_key_is_replaced(key_elsewhere, content):
    signing_key.load_self_signed()
    damaged = key_elsewhere / "key.pem"
    damaged.write_bytes(content if isinstance(content, bytes) else damaged.read_bytes()[:-40])
    signing_key.load_self_signed.cache_clear()
    check_signing()


def test_check_signing_folder_that_cannot_be_written_is_one_line(key_elsewhere, tmp_path):
    (tmp_path / "keys").write_text("no folder")
    with pytest.raises(UserError, match=r"no signing key can be kept there .*set provenance\.certificate"):
        check_signing()


def test_set_signing_key_not_yet_valid_is_refused(own_chain, monkeypatch):
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=400)
    monkeypatch.setattr(signing_key, "_now", lambda: past)
    with pytest.raises(UserError, match="set the clock"):
        set_signing_key(own_chain / "certificate.pem", own_chain / "key.pem")
