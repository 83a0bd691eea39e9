"""What the last screen of a training tells to do next."""

import shlex


def next_paths(screen: str) -> list[str]:
    """Return the paths of a run that the commands below `Next:` read.

    Args:
        screen: All that was printed; nothing may follow the commands.
    """
    commands = screen.rpartition("Next:")[2].split("\n  ")
    words = [word for command in commands for word in shlex.split(command)]
    keys = ("model", "ckpt_path", "occluder", "adapter", "resume")
    return [value for key, _, value in (word.partition("=") for word in words) if key in keys and "/" in value]
