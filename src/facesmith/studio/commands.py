"""The commands that open a page in the browser; what is heavy is imported when they run."""

from facesmith.annotate.config import AnnotateConfig
from facesmith.cli.launch import hydra_command
from facesmith.config.studio import StudioConfig


@hydra_command("annotate", AnnotateConfig)
def annotate(config: AnnotateConfig) -> None:
    """Open the page on which masks are painted, or convert masks.

    Args:
        config: Settings of the command.
    """
    from facesmith.studio.painting import annotate

    annotate(config)


@hydra_command("studio", StudioConfig)
def studio(config: StudioConfig) -> None:
    """Open the page of the whole way.

    Args:
        config: Settings of the command.
    """
    from facesmith.studio.app import studio

    studio(config)
