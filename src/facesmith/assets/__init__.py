"""Named weights and demo media: where each comes from, and the sha256 that says it is the right one."""

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
