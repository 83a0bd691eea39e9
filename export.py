"""Export a checkpoint: python export.py ckpt_path=runs/identity/ada/<time>/checkpoints/last.ckpt."""

from facesmith.config import ExportConfig
from facesmith.launch import entry_point


@entry_point("export", ExportConfig)
def main(config: ExportConfig) -> None:
    """Write the file and check that it computes what the checkpoint does."""
    from facesmith.export import export

    export(config)


if __name__ == "__main__":
    main()
