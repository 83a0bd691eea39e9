"""`facesmith doctor`: whether this machine is ready, and what would stop a run, with the mend."""

import importlib.util
import json
import netrc
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

from packaging.requirements import Requirement
from pydantic import Field

from facesmith import assets
from facesmith.assets.catalog import ASSETS, name_archive
from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.cli.next_commands import print_next
from facesmith.config.schema import AssetsConfig, PathsConfig, ProvenanceConfig
from facesmith.config.settings import Settings
from facesmith.errors import UserError
from facesmith.files import require_writable
from facesmith.media.provenance import check_signing, set_signing_key
from facesmith.media.signing_key import key_folder
from facesmith.progress import waiting
from facesmith.terminal import make_console, print_line

_TRAINING: Final = (
    "face_landmarker.task",
    "yunet.onnx",
    "sface.onnx",
    "dlib_face_recognition_resnet_model_v1.dat",
    "shape_predictor_5_face_landmarks.dat",
)
_DEMO: Final = ("single_face.mp4", "carphone_pristine.mp4", "astronaut.png", "grace_hopper.jpg", "multi_face.jpg")
_INSIGHTFACE: Final = ("buffalo_l",)
_SHOWN: Final = ("torch", "lightning", "mediapipe", "onnxruntime", "opencv-python", "av", "wandb")
_LEAST_DISK: Final = 1e9  # bytes; a demo's run and face set take a tenth of it
_LITTLE_DISK: Final = 10e9
_LEAST_MEMORY: Final = 1e9  # bytes; the demo's training peaks at 1.5 GB, half of it the libraries
_LITTLE_MEMORY: Final = 3e9

State = Literal["ok", "note", "stop"]
_STYLES: Final[dict[State, str]] = {"ok": "", "note": "yellow", "stop": "red"}


@dataclass(frozen=True)
class Finding:
    """The result of one check: `stop` would end a run; `mend` is the fix, empty if none is needed."""

    area: str
    what: str
    state: State
    found: str
    mend: str = ""


_HELP: Final = """\
Check whether this machine is ready: devices, packages, weights, disk, memory, W&B. Exit code 1 when something would
stop a run.

  facesmith doctor

keys
  json=true          print the findings as JSON
  assets.dir=        your own folder of weights
  paths.runs=        where runs will go; also paths.face_sets
"""


class DoctorConfig(Settings):
    """Settings of `facesmith doctor`."""

    as_json: bool = Field(alias="json")
    """Print the findings as JSON."""
    paths: PathsConfig
    assets: AssetsConfig
    provenance: ProvenanceConfig


def main(given: Sequence[str]) -> int:
    """Print the findings.

    Returns:
        1 when something would stop a run, else 0.
    """
    if wants_help(given):
        print(_HELP, end="")
        return 0
    config = read_arguments(given, DoctorConfig, conf="doctor")
    with waiting("looking at this machine", shown=not config.as_json):
        findings = list(examine(config))
    stops = [one for one in findings if one.state == "stop"]
    if config.as_json:
        print(json.dumps({"ready": not stops, "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        _print(findings, stops)
    return 1 if stops else 0


def examine(config: DoctorConfig) -> Iterator[Finding]:
    """Look at everything, the quick things first."""
    yield _python()
    yield from _packages()
    yield from _assets(config)
    yield from _disk(config)
    yield _signing(config)
    yield _memory()
    yield _wandb()
    yield from _devices()


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding(
        "packages", "python", "ok" if good else "stop", found, "" if good else "install Python 3.11 or newer"
    )


def _packages() -> Iterator[Finding]:
    """Compare the installed packages with facesmith's requirements."""
    wanted = [Requirement(text) for text in requires("facesmith") or ()]
    good = []
    for one in wanted:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(one.name)
        except PackageNotFoundError:
            yield Finding("packages", one.name, "stop", "missing", f"pip install '{one}'")
            continue
        if one.specifier.contains(found, prereleases=True):
            good.append(f"{one.name} {found}")
        else:
            yield Finding("packages", one.name, "stop", f"{found}, needs {one.specifier}", f"pip install '{one}'")
    shown = [text for text in good if text.split()[0] in _SHOWN]
    yield Finding("packages", f"{len(good)} packages", "ok", f"as required, among them {', '.join(shown)}")


def _assets(config: DoctorConfig) -> Iterator[Finding]:
    """Report of each weight file where it is or where it would come from, and under which licence."""
    if config.assets.dir is not None:
        try:
            assets.use_directory(config.assets.dir)
        except UserError as error:
            yield Finding(
                "weights", "assets.dir", "stop", str(error), "set assets.dir to a folder that exists, or null"
            )
            return
    try:
        own = assets.own_directory()
    except UserError as error:
        yield Finding("weights", "assets.dir", "stop", str(error), "set it to a folder that exists, or unset it")
        return
    if own is not None:
        yield Finding("weights", "assets.dir", "ok", f"{own} is looked into first")
    yield _writable("weights", "cache", assets.cache_directory(), "set $FACESMITH_CACHE to another folder")
    for purpose, names in (("training", _TRAINING), ("demo", _DEMO), ("analyzer=insightface", _INSIGHTFACE)):
        for name in names:
            asset = ASSETS[name]
            about = f"for {purpose}; licence: {asset.licence}"
            try:
                found = assets.find(name)
            except UserError as error:
                yield Finding("weights", name, "stop", str(error), "delete that file")
                continue
            if found is not None:
                yield Finding("weights", name, "ok", f"{found[1]}; {about}")
            else:
                sources = [name_archive(archive) for archive, _ in asset.members] + list(asset.urls)
                message = f"not downloaded yet, available from {sources[0] if sources else 'nowhere'}; {about}"
                mend = f"facesmith assets {name}, or put it into a folder and set assets.dir"
                yield Finding("weights", name, "note", message, mend)


def _places(config: DoctorConfig) -> tuple[tuple[str, Path], ...]:
    paths = config.paths
    return ("paths.runs", paths.runs), ("paths.face_sets", paths.face_sets), ("paths.profiles", paths.profiles)


def _writable(area: str, what: str, folder: Path, mend: str) -> Finding:
    """Write a file into a folder, as a run would."""
    try:
        require_writable(folder, what)
    except UserError as error:
        return Finding(area, what, "stop", str(error).partition(";")[0], mend)
    return Finding(area, what, "ok", f"{folder} can be written")


def _signing(config: DoctorConfig) -> Finding:
    """Sign a small picture, as every result is signed."""
    try:
        set_signing_key(config.provenance.certificate, config.provenance.key)
        check_signing()
    except UserError as error:
        found, _, mend = str(error).partition(";")
        return Finding("machine", "signing key", "stop", found, mend.strip())
    return Finding("machine", "signing key", "ok", f"{config.provenance.key or key_folder()} signs results")


def _disk(config: DoctorConfig) -> Iterator[Finding]:
    for key, path in _places(config):
        folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
        free = shutil.disk_usage(folder).free
        found = f"{free / 1e9:.1f} GB free at {folder}"
        tried = _writable("machine", key, path, f"set {key} to another folder")
        if tried.state == "stop":
            yield tried
        elif free < _LEAST_DISK:
            yield Finding("machine", key, "stop", found, f"make room, or set {key} to another disk")
        else:
            scarce = free < _LITTLE_DISK
            mend = "enough for a few runs; callbacks.checkpoint=null keeps only the last and best" if scarce else ""
            yield Finding("machine", key, "note" if scarce else "ok", found, mend)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < _LEAST_MEMORY:
        return Finding("machine", "memory", "stop", found, "close other programs")
    if memory.available < _LITTLE_MEMORY:
        return Finding("machine", "memory", "note", found, "trainer=low_memory")
    return Finding("machine", "memory", "ok", found)


def _wandb() -> Finding:
    if importlib.util.find_spec("wandb") is None:
        return Finding("W&B", "logger=wandb", "note", "not installed", "pip install wandb")
    mode = os.environ.get("WANDB_MODE")
    if mode in ("offline", "disabled"):
        return Finding("W&B", "logger=wandb", "ok", f"WANDB_MODE={mode}")
    if os.environ.get("WANDB_API_KEY"):
        return Finding("W&B", "logger=wandb", "ok", "online: WANDB_API_KEY is set")
    try:
        known = bool(netrc.netrc().authenticators("api.wandb.ai"))
    except (OSError, netrc.NetrcParseError):
        known = False
    if known:
        return Finding("W&B", "logger=wandb", "ok", "online: logged in")
    return Finding("W&B", "logger=wandb", "ok", "offline: no key; `wandb sync` uploads later, `wandb login` sets one")


def _devices() -> Iterator[Finding]:
    try:
        import torch

        from facesmith.training.hardware import best_precision
    except (ImportError, OSError) as error:
        yield Finding("devices", "torch", "stop", " ".join(str(error).split()), "install torch anew from pytorch.org")
        return
    cores = os.cpu_count() or 1
    yield Finding("devices", "CPU", "ok", f"{cores} cores, {torch.get_num_threads()} threads for torch")
    yield _cuda(torch)
    mps = torch.backends.mps.is_available()
    yield Finding("devices", "MPS", "ok", "Apple GPU" if mps else "none")
    chosen, why = best_precision("auto")
    yield Finding("devices", "trainer.precision=auto", "ok", f"{chosen}: {why}")


def _cuda(torch: ModuleType) -> Finding:
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        descriptions = [f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, compute {gpu.major}.{gpu.minor}" for gpu in gpus]
        built = {arch.removeprefix("sm_") for arch in torch.cuda.get_arch_list() if arch.startswith("sm_")}
        old = [gpu.name for gpu in gpus if built and min(map(_digits, built)) > 10 * gpu.major + gpu.minor]
        if old:
            mend = "install a torch built for it (pytorch.org), or trainer.accelerator=cpu"
            return Finding("devices", "CUDA", "stop", f"this torch was not built for {', '.join(old)}", mend)
        return Finding("devices", "CUDA", "ok", "; ".join(descriptions))
    if shutil.which("nvidia-smi"):
        mend = f"install the CUDA build of torch (this is {torch.__version__}) and a driver that fits"
        return Finding("devices", "CUDA", "note", "an NVIDIA driver is here, but torch sees no GPU", mend)
    return Finding("devices", "CUDA", "ok", "none; experiment=identity trains on a CPU in minutes")


def _digits(architecture: str) -> int:
    return int("".join(c for c in architecture if c.isdigit()))


def _licences(findings: list[Finding]) -> str:
    bound = [name for name, asset in ASSETS.items() if "non-commercial" in asset.licence]
    here = [one.what for one in findings if one.what in bound and one.state == "ok"]
    if here:
        return f"For non-commercial use only: {', '.join(here)}, and what analyzer=insightface makes with it."
    return "The default weights' licences permit commercial use; analyzer=insightface would not (non-commercial)."


def _print(findings: list[Finding], stops: list[Finding]) -> None:
    console, area = make_console(), ""
    for one in findings:
        if one.area != area:
            area = one.area
            print_line(area, console, "bold")
        print_line(f"  {one.state:<4}  {one.what}: {one.found}", console, _STYLES[one.state])
        if one.mend:
            print_line(f"{'':<6}  {one.mend}", console)
    print_line(_licences(findings), console)
    if not stops:
        print_line("Nothing would stop a run.", console)
        print_next(["facesmith train experiment=identity_demo"])
    for one in stops:
        print_line(f"{one.what}: {one.found}; {one.mend}", console, "red")


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["doctor", *sys.argv[1:]]))
