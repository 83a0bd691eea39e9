"""Use what was trained: python infer.py task=swap model=ada.onnx source=scene.mp4 output=swapped.mp4."""

from facesmith.config import InferConfig
from facesmith.launch import entry_point


@entry_point("infer", InferConfig, aliases={key: f"task.{key}" for key in ("model", "select", "reference", "resume")})
def main(config: InferConfig) -> None:
    """Run the task."""
    from facesmith.infer import infer

    infer(config)


if __name__ == "__main__":
    main()
