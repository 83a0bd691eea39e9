import numpy as np
import pytest
import torch

from facesmith.errors import UserError
from facesmith.tasks.evaluate.frechet import load_inception


def test_load_inception_of_other_files_is_refused(tmp_path):
    for name, content, message in (
        ("list.pth", [1, 2], "is no dictionary of tensors"),
        ("code.pth", {"a": print}, "cannot be read"),
        ("other.pth", {"a": torch.zeros(2)}, "holds another network"),
        ("inception-00000000.pth", {"a": torch.zeros(2)}, r"sha256 is \w+, its name says 00000000"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match=message):
            load_inception(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.pth: cannot be read"):
        load_inception(tmp_path / "none.pth")


@pytest.mark.slow
def test_fid_equals_the_formula_on_random_weights(tmp_path):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, content: None)
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        network = FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(network.state_dict(), tmp_path / "random.pth")
    metric, told = load_inception(tmp_path / "random.pth")
    assert "random.pth, sha256" in told
    metric.set_dtype(torch.float64)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 64, 64), np.uint8))
    pictures[3:] //= 2
    with torch.inference_mode():
        metric.update(pictures[:3], real=True)
        metric.update(pictures[3:], real=False)
        features = network(pictures)[0].double().numpy()
    a, b = features[:3], features[3:]
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # the root's trace, by the few dimensions that three pictures span
    left, right = (part - part.mean(0) for part in (a, b))
    inner = np.linalg.svd(left @ right.T / 2, compute_uv=False).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + sum(np.trace(one) for one in covariances) - 2 * inner
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-3, abs=1e-6)
