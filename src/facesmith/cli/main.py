"""The command `facesmith`: look up the command named first and hand it the rest of the line."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, NamedTuple

import facesmith
from facesmith.cli.help_text import wrapping_help
from facesmith.config.conf_folder import folders
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError, explain_barred_path
from facesmith.terminal import print_error


class Command(NamedTuple):
    """The module and function of a command, and its summary."""

    function: str
    summary: str

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import the function, which takes the arguments and returns the exit code."""
        module, _, name = self.function.partition(":")
        loaded: Callable[[Sequence[str]], int] = getattr(import_module(module), name)
        return loaded


COMMANDS: Final = {
    "train": Command("facesmith.cli.jobs:train", "train a model: experiment=identity data.source=photos/ ..."),
    "infer": Command("facesmith.cli.jobs:infer", "use trained models: task=swap model=ada.onnx source=... output=..."),
    "export": Command("facesmith.cli.jobs:export", "write a model for other programs: ckpt_path=... to=dfm"),
    "faces": Command("facesmith.cli.faces:main", "look through a person's faces, leave some out: ada leave-out 12"),
    "sweep": Command("facesmith.cli.sweep:main", "compare runs: status|leaderboard|best <folder>"),
    "studio": Command("facesmith.studio.app:studio", "all of this in one window of the browser"),
    "annotate": Command("facesmith.studio.app:annotate", "paint masks of the visible face: data.source=..."),
    "doctor": Command("facesmith.cli.doctor:main", "check whether this machine is ready"),
    "assets": Command("facesmith.cli.assets:main", "download weights and demo media"),
    "purge": Command("facesmith.cli.purge:main", "remove everything made from a person's pictures: name=ada"),
    "provenance": Command(
        "facesmith.cli.provenance:main", "check whether media are marked as synthetic: verify <file>"
    ),
    "adapters": Command("facesmith.cli.adapters:main", "list adapters: runs/"),
    "help": Command("facesmith.cli.help:main", "explain a key, a config group or a command: data.max_frames"),
}
HYDRA: Final = ("train", "infer", "export", "annotate", "studio")
VERBS: Final = {
    "faces": ("leave-out", "take-back", "extract"),
    "sweep": ("status", "leaderboard", "best", "lineage", "dashboard"),
    "provenance": ("verify",),
    "purge": ("retention", "name="),
}

_STOPPED: Final = 130  # the exit code of a program that was stopped by Ctrl-C
_HELP: Final = """\
Train models of a consenting person's face, use them, and export them.

  facesmith <command> key=value ...

{commands}

  facesmith train experiment=identity data.source=photos/ data.name=ada data.consent=self
  facesmith infer task=swap model=runs/identity/ada/latest/exports/ada.onnx source=scene.mp4 output=swapped.mp4

  facesmith <command> --help       examples, config groups and their options
  facesmith help <key>             what a key means, and what it takes
  facesmith help <command>         every key of a command
  facesmith train sweep=<name>     a sweep of sweeps/, many runs
  facesmith doctor                 whether this machine is ready
  facesmith --version
  eval "$(facesmith --shell-completion install=bash)"    completes commands, keys and options
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: The command's name and what follows it; the process's own where None.

    Returns:
        The exit code: 0 for success, 1 for a mistake, which is reported in a line on stderr, 130 after Ctrl-C;
        `provenance verify` and `purge retention` have more.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(_HELP.format(commands="\n".join(f"  {c:<{width}}  {COMMANDS[c].summary}" for c in COMMANDS)), end="")
        return 0
    if name == "--version":
        print(f"facesmith {facesmith.__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):
        return _complete(given[1:])
    if name not in COMMANDS:
        closest = closest_match(name, COMMANDS)
        mend = f"did you mean {closest}?" if closest else f"choose one of {', '.join(COMMANDS)}"
        print_error(f"error: {name}: no such command; {mend}")
        return 1
    try:
        with wrapping_help(given == ["help"] or any(word in ("-h", "--help") for word in given[1:])):
            return COMMANDS[name].load()(given[1:])
    except KeyboardInterrupt:
        print_error("stopped by Ctrl-C")
        return _STOPPED
    except UserError as error:
        for line in str(error).splitlines():
            print_error(f"error: {line}")
        return 1
    except OSError as error:
        barred = explain_barred_path(error)
        if barred is None:
            raise
        print_error(f"error: {barred}")
        return 1


_BASH: Final = """\
_facesmith() {
    local choices word="${COMP_LINE:0:COMP_POINT}"
    word="${word##* }"
    choices=$(COMP_LINE="${COMP_LINE:0:COMP_POINT}" facesmith --shell-completion query=bash 2>/dev/null)
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} != *[=./] ]] && COMPREPLY[0]+=" "
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _facesmith facesmith
"""


def _complete(arguments: Sequence[str]) -> int:
    """Print the script that completes commands and keys in bash, or what completes the line in $COMP_LINE."""
    if list(arguments) == ["install=bash"]:
        print(_BASH, end="")
        return 0
    if list(arguments) == ["uninstall=bash"]:
        print("complete -r facesmith; unset -f _facesmith")
        return 0
    if list(arguments) != ["query=bash"]:
        print("error: --shell-completion: write install=bash or uninstall=bash", file=sys.stderr)
        return 1
    _, _, line = os.environ.get("COMP_LINE", "").partition(" ")
    name, space, rest = line.lstrip().partition(" ")
    if not space:
        print(" ".join(COMMANDS))
    elif name in VERBS and " " not in rest.strip():
        print(" ".join(VERBS[name]))
    elif name == "train" and rest.rpartition(" ")[2].startswith("sweep="):
        print(" ".join(f"sweep={path.stem}" for folder in folders("sweeps") for path in sorted(folder.glob("*.yaml"))))
    elif name in HYDRA:
        os.environ["COMP_LINE"] = f"facesmith {rest.lstrip()}"
        return COMMANDS[name].load()(["--shell-completion", "query=bash"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
