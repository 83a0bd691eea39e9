"""Settings of the face encoders."""

from facesmith.config.settings import Component


class ClipEncoderConfig(Component):
    """Settings of `ClipEncoder`."""

    model: str


class DinoEncoderConfig(Component):
    """Settings of `DinoEncoder`."""

    model: str
