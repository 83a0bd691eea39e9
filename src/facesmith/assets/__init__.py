"""Named weights and demo media: their sources and sha256."""

from facesmith.assets.store import (
    UnreachableError,
    cache_directory,
    fetch,
    fetch_with_source,
    find,
    own_directory,
    resolve,
    sha256,
    use_directory,
)

__all__ = [
    "UnreachableError",
    "cache_directory",
    "fetch",
    "fetch_with_source",
    "find",
    "own_directory",
    "resolve",
    "sha256",
    "use_directory",
]
