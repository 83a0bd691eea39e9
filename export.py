"""Export a checkpoint: python export.py ckpt_path=runs/identity/ada/.../checkpoints/last.ckpt."""

import hydra
from omegaconf import DictConfig

from facesmith.config import ExportConfig, validate
from facesmith.launch import one_line_errors


@one_line_errors(ExportConfig)
@hydra.main(version_base="1.3", config_path="conf", config_name="export")
def main(cfg: DictConfig) -> None:
    """Validate the composed config, then export."""
    config = validate(cfg, ExportConfig)
    from facesmith.export import export

    export(config)


if __name__ == "__main__":
    main()
