"""Train: python train.py experiment=identity data.source=photos/ data.name=ada data.consent=self."""

from facesmith.config import TrainConfig
from facesmith.launch import entry_point
from facesmith.runs.resume import arguments


@entry_point("train", TrainConfig, arguments=arguments)
def main(config: TrainConfig) -> float | list[float] | None:
    """Train, and give a sweep what it judges by."""
    from facesmith.train import train

    return train(config)


if __name__ == "__main__":
    main()
