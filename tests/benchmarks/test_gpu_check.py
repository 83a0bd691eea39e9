"""The scripts that count and measure memory run at toy size, and the estimate holds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize("way", ["step, checkpointing", "step, streamed"])
@pytest.mark.parametrize("layout", ["1.3B", "14B", "small"])
def test_memory_estimate_is_at_most_a_tenth_above_what_is_counted(tmp_path: Path, layout: str, way: str) -> None:
    from video_lora_memory import SHAPES, WAYS, count, estimate
    from wan_layouts import write_base

    base, shape = write_base(tmp_path / "base", layout), SHAPES[layout][0]
    assert 1.0 <= estimate(base, shape, WAYS[way]) / count(base, shape, WAYS[way]) <= 1.1


def test_memory_estimate_holds_for_every_setting(tmp_path: Path) -> None:
    """On a small transformer, in float32 and bfloat16; float8 over float32, in which its weights can be cast."""
    from video_lora_memory import FLOAT8, FP32, SETTINGS, SHAPES, WAYS, count, estimate
    from wan_layouts import write_base

    base, (short, longer) = write_base(tmp_path / "base", "small"), SHAPES["small"]
    ways = {name: (longer, way) for name, way in {**WAYS, **SETTINGS}.items()}
    for name in ("step, checkpointing", "step, all kept", "sampling"):
        ways[f"{name}, float32"] = longer, replace(WAYS[name], frozen=FP32)
        ways[f"{name}, float8"] = short, replace(WAYS[name], frozen=FLOAT8)
    shares = {name: estimate(base, shape, way) / count(base, shape, way) for name, (shape, way) in ways.items()}
    assert {name: share for name, share in shares.items() if not 1.0 <= share <= 1.1} == {}


@pytest.mark.parametrize("what", ["encode", "decode"])
def test_memory_estimate_of_the_vae_holds(tmp_path: Path, what: str) -> None:
    from video_lora_memory import SHAPES, count_vae, vae_bytes
    from wan_layouts import write_base

    base, shape = write_base(tmp_path / "base", "1.3B"), SHAPES["1.3B"][0]
    assert 1.0 <= vae_bytes(base, shape, what) / count_vae(base, shape, what) <= 1.1  # type: ignore[arg-type]
