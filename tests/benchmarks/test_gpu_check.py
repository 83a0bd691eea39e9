"""The scripts that count and measure memory run at toy size, and the estimate holds."""

from pathlib import Path

import pytest
import torch

from facesmith.methods.video_lora.memory_estimate import FrozenWeights

pytestmark = pytest.mark.slow


@pytest.mark.skipif(torch.cuda.is_available(), reason="takes the whole GPU for minutes")
def test_gpu_check_runs_at_toy_size(tmp_path: Path) -> None:
    from gpu_check import measure

    lines = list(measure(tmp_path, 3600))
    steps = [line.split("|") for line in lines if line.startswith("| step")]
    assert len(steps) == 7
    assert all(float(cells[6]) < 1e-5 for cells in steps[1:] if "float8" not in cells[1])
    (streamed,) = [cells for cells in steps if cells[1] == " step, blocks streamed "]
    assert float(streamed[6]) == 0
    assert sum("drawing" in line for line in lines) == 2
    types = [line for line in lines if line.startswith(("| identity", "| swap_lora", "| occluder"))]
    assert len(types) == 6
    assert not any("no time left" in line or "not finite" in line for line in types)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("layout", ["1.3B", "14B", "small"])
def test_memory_estimate_is_at_most_a_tenth_above_what_is_counted(tmp_path: Path, layout: str, streamed: bool) -> None:
    from video_lora_memory import CASES, count, estimate
    from wan_layouts import write_base

    base, shape = write_base(tmp_path / "base", layout), CASES[layout][0]
    frozen = FrozenWeights(torch.bfloat16, streamed=streamed)
    said = estimate(base, shape, frozen, checkpointing=True, learns=True)
    assert 1.0 <= said / count(base, shape, checkpointing=True, learns=True, streamed=streamed) <= 1.1
