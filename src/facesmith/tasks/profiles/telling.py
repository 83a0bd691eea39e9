"""What the profile tasks say of what they made."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from facesmith.faces.profiles.profile import IdentityProfile


def tell_combined(path: Path, made: IdentityProfile, parents: Sequence[IdentityProfile]) -> None:
    """Print where it is, how alike it is to what it was made from, and whose consent it carries."""
    alike = ", ".join(
        f"{parent.id} {float(parent.similarity(made.mean[None], made.embedder)[0]):.3f}" for parent in parents
    )
    expires = f", until {made.expires}" if made.expires else ""
    Console(highlight=False, soft_wrap=True).print(
        f"{path}: {made.id}, similarity to {alike}; consent {made.consent}{expires}", markup=False
    )
