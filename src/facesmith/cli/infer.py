"""The inference job: build the task the config names and run it."""

import sys
from pathlib import Path

from facesmith import assets
from facesmith.cli.next_commands import after_task, print_next
from facesmith.config.schema import InferConfig
from facesmith.config.signatures import signature
from facesmith.errors import explain_errors
from facesmith.media.provenance import set_signing_key
from facesmith.models.onnx.providers import use_device
from facesmith.progress import waiting
from facesmith.training.run.log import log_run, silence_libraries


def infer(config: InferConfig) -> list[Path]:
    """Run the task.

    Args:
        config: The task and what it reads and writes.

    Returns:
        The files it wrote.

    Raises:
        UserError: A model, a source or an output is not what the task needs.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    set_signing_key(config.provenance.certificate, config.provenance.key)
    takes = signature(config.task.target_).parameters
    more = {"analyzer": config.analyzer.build} if "analyzer" in takes else {}
    with log_run(config), explain_errors(config):
        use_device(config.device)
        with waiting("loading models"):
            task = config.task.build(**more)
        written: list[Path] = task.run()
    print_next(after_task(config.task.target_, written or []))
    return written


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["infer", *sys.argv[1:]]))
