import numpy as np
import pytest

from facesmith.media.colour_signal import ColourSignal

BT601, BT709, BT2020, PQ, HLG, SDR = 6, 1, 9, 16, 18, 2


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "transfer"), [(BT601, SDR), (BT709, SDR), (BT2020, PQ), (BT2020, HLG)])
def test_colour_signal_round_trip_is_exact(matrix, transfer, full, bits):
    signal = ColourSignal(matrix, transfer, matrix, full, bits)
    rgb = np.random.default_rng(0).uniform(0, 250, (500, 3)).astype(np.float32)
    codes = signal.from_display(rgb)
    assert codes.min() >= 0
    assert codes.max() <= signal.maximum
    assert np.abs(signal.to_display(codes) - rgb).max() < 0.01
    assert np.abs(signal.from_display(signal.to_display(codes)) - codes).max() < 0.01


def test_colour_signal_known_values():
    white, black = ColourSignal(BT709, SDR, BT709, False, 8), ColourSignal(BT601, SDR, BT601, False, 10)
    assert white.from_display(np.full((1, 3), 255.0, np.float32))[0] == pytest.approx([235, 128, 128], abs=1e-3)
    assert black.from_display(np.zeros((1, 3), np.float32))[0] == pytest.approx([64, 512, 512], abs=1e-3)
    red = white.from_display(np.array([[255.0, 0, 0]], np.float32))[0]
    assert red == pytest.approx([62.6, 102.3, 240], abs=0.1)


def test_colour_signal_hdr_white_is_bright_and_not_clipped():
    # 203 cd/m2 is 58 % of a PQ signal and 75 % of an HLG signal (ITU-R BT.2408).
    for transfer, share in ((PQ, 0.5807), (HLG, 0.75)):
        signal = ColourSignal(BT2020, transfer, BT2020, False, 10)
        code = 64 + 876 * share
        shown = signal.to_display(np.array([[code, 512, 512]], np.float32))[0]
        assert shown == pytest.approx([240] * 3, abs=8)
        brighter = signal.to_display(np.array([[code + 60, 512, 512]], np.float32))[0]
        assert (brighter > shown).all()
        assert (brighter <= 255).all()


def test_colour_signal_untagged_matrix_follows_height():
    assert ColourSignal.from_tags((2, 2, 2), False, 8, 720).matrix == BT709
    assert ColourSignal.from_tags((2, 2, 2), False, 8, 576).matrix == BT601
    assert ColourSignal.from_tags((9, 16, 9), False, 10, 576).is_hdr
