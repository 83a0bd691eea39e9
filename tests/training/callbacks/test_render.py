from types import SimpleNamespace

import numpy as np
import pytest

from facesmith.media.verification import verify_provenance
from facesmith.training.callbacks.render import RenderValidation


class Knowing:
    """What the callback asks of a module."""

    provenance = {"identity": "ada", "consent": "written"}

    def render(self, batch):
        return np.full((32, 32, 3), 100, np.uint8)


class Unknowing:
    def render(self, batch):
        return np.full((32, 32, 3), 100, np.uint8)


def render(folder, module, loggers=()):
    trainer = SimpleNamespace(
        current_epoch=9, max_epochs=10, sanity_checking=False, is_global_zero=True, loggers=loggers, global_step=5
    )
    RenderValidation(folder, every_n_epochs=10).on_validation_batch_end(trainer, module, None, {}, 0)
    return folder / "epoch_0010.png"


@pytest.mark.parametrize(
    ("module", "whose"), [(Knowing(), ("ada", "written")), (Unknowing(), ("not stated", "not stated"))]
)
def test_render_validation_marks_renders(tmp_path, module, whose):
    found = verify_provenance(render(tmp_path, module))
    assert (found.state, found.synthetic) == ("signed", True)
    assert (found.mark.identity, found.mark.consent) == whose
    assert found.mark.title == "training render, epoch 10"
