"""What is wrong with a media file."""

from facesmith.errors import UserError


class MediaError(UserError):
    """A file that cannot be read or written as media: one line that names it and the mend."""
