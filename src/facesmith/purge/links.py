"""How something is linked to a person: by name, as one of several, or by the same pictures only."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Link(NamedTuple):
    """Why something counts as a person's.

    Attributes:
        why: In words.
        shared_with: The other name that it goes by, where the same pictures are the only link.
    """

    why: str
    shared_with: str = ""


def find_link(facts: Mapping[str, Any], name: str, keys: set[str]) -> Link | None:
    """Return how what a file or checkpoint states of itself is linked to a person.

    Args:
        facts: `identity`, `face_set` and `scene` of a model, an adapter or a checkpoint.
        name: The identity.
        keys: Of the person's own face sets.
    """
    identity = str(facts.get("identity") or "")
    if name in identity.split(","):
        return Link("names this identity")
    learnt = set(str(facts.get("face_set", "")).split("+"))
    if keys & learnt:
        if len(learnt) > 1:
            return Link(f"trained on this face among others, as {identity}")
        return Link(f"trained on the same pictures, as {identity}", identity or "an unknown name")
    scene = facts.get("scene")
    if isinstance(scene, dict) and scene.get("key") in keys:
        return Link(f"trained on a scene with this face, for {identity}")
    return None
