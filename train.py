"""Train: python train.py experiment=identity data.source=photos/ data.name=ada data.consent=self."""

import hydra
from omegaconf import DictConfig

from facesmith.config import TrainConfig, validate
from facesmith.launch import one_line_errors


@one_line_errors(TrainConfig)
@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Validate the composed config, train, and give a sweeper the monitored metric."""
    config = validate(cfg, TrainConfig)
    from facesmith.train import train

    return train(config)


if __name__ == "__main__":
    main()
