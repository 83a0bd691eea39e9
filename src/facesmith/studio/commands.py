"""The commands that open a page in the browser; what is heavy is imported when they run."""

from facesmith.annotate.config import AnnotateConfig
from facesmith.cli.launch import hydra_command


@hydra_command("annotate", AnnotateConfig)
def annotate(config: AnnotateConfig) -> None:
    """Open the page on which masks are painted, or convert masks."""
    from facesmith.studio.painting import annotate

    annotate(config)
