"""Settings of the face encoders."""

from facesmith.config.settings import EncoderConfig


class ClipEncoderConfig(EncoderConfig):
    """Settings of `ClipEncoder`."""

    model: str


class DinoEncoderConfig(EncoderConfig):
    """Settings of `DinoEncoder`."""

    model: str
