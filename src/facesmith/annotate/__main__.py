"""Paint masks: python -m facesmith.annotate data.source=scene.mp4 data.name=stage data.consent=written."""

from facesmith.annotate.config import AnnotateConfig
from facesmith.cli.launch import entry_point


@entry_point("annotate", AnnotateConfig)
def main(config: AnnotateConfig) -> None:
    """Open the painter."""
    from facesmith.annotate.app import annotate

    annotate(config)


if __name__ == "__main__":
    main()
