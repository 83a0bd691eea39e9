"""Named weights and demo media: their sources and sha256."""

from facesmith.assets.store import (
    UnreachableError,
    fetch,
    fetch_with_source,
    find,
    resolve,
    sha256,
    use_directory,
)

__all__ = ["UnreachableError", "fetch", "fetch_with_source", "find", "resolve", "sha256", "use_directory"]
