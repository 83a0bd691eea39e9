"""Head pose: a training type of its own, outside facesmith's repository."""
