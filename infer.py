"""Use what was trained: python infer.py task=swap model=ada.onnx source=scene.mp4 output=swapped.mp4."""

import hydra
from omegaconf import DictConfig

from facesmith.config import InferConfig, validate
from facesmith.launch import one_line_errors


@one_line_errors(InferConfig)
@hydra.main(version_base="1.3", config_path="conf", config_name="infer")
def main(cfg: DictConfig) -> None:
    """Validate the composed config, then run the task."""
    config = validate(cfg, InferConfig)
    from facesmith.infer import infer

    infer(config)


if __name__ == "__main__":
    main()
