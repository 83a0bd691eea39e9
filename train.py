"""Train: python train.py experiment=identity data.source=photos/ data.name=ada data.consent=self."""

from facesmith.cli.launch import entry_point
from facesmith.config.schema import TrainConfig
from facesmith.training.run.resume import arguments


@entry_point("train", TrainConfig, arguments=arguments)
def main(config: TrainConfig) -> float | list[float] | None:
    """Train, and give a sweep what it judges by."""
    from facesmith.cli.train import train

    return train(config)


if __name__ == "__main__":
    main()
