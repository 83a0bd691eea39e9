"""Settings of the face encoders."""

from facesmith.config.settings import EncoderConfig


class ClipEncoderConfig(EncoderConfig):
    """Settings of `ClipEncoder`."""

    model: str
    """A hub id, downloaded once, or a local folder."""


class DinoEncoderConfig(EncoderConfig):
    """Settings of `DinoEncoder`."""

    model: str
    """A hub id, downloaded once, or a local folder."""
