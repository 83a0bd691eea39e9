"""Use what was trained: python infer.py task=swap model=ada.onnx source=scene.mp4 output=swapped.mp4."""

import re

from facesmith.cli.launch import entry_point
from facesmith.config.schema import InferConfig


def of_task(arguments: list[str]) -> list[str]:
    """Take plain keys that are none of every task's for the chosen task's own: `masks=[box]` is `task.masks=[box]`."""
    own = "|".join(InferConfig.model_fields)
    return [re.sub(rf"^(?!(?:{own}|hydra)\b)(\w+=)", r"task.\1", argument) for argument in arguments]


@entry_point("infer", InferConfig, arguments=of_task)
def main(config: InferConfig) -> None:
    """Run the task."""
    from facesmith.cli.infer import infer

    infer(config)


if __name__ == "__main__":
    main()
