"""Export a checkpoint: python export.py ckpt_path=runs/identity/ada/<time>/checkpoints/last.ckpt."""

from facesmith.cli.launch import entry_point
from facesmith.config.schema import ExportConfig


@entry_point("export", ExportConfig)
def main(config: ExportConfig) -> None:
    """Write the file and check that it computes what the checkpoint does."""
    from facesmith.cli.export import export

    export(config)


if __name__ == "__main__":
    main()
