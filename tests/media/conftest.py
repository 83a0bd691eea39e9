"""Small real videos whose frames carry their own number."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from .stamped import HEIGHT, WIDTH, picture


@pytest.fixture(scope="session")
def make_video(tmp_path_factory) -> Callable[..., Path]:
    """Encode a stamped video: name and container by suffix, options for the encoder, sound by codec."""
    folder = tmp_path_factory.mktemp("videos")

    def make(
        name: str,
        frames: int = 90,
        *,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        times: Callable[[int], int] | None = None,
        rate: int = 25,
        base: int = 12800,
        rotation: int = 0,
        sound: str = "",
        pix_fmt: str = "yuv420p",
        tags: dict[str, int] | None = None,
    ) -> Path:
        path = folder / name
        if path.exists():
            return path
        defaults = {"preset": "veryfast", "crf": "24", "bf": "3", "g": "24"} if codec == "libx264" else {}
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=rate, options={**defaults, **(options or {})})
            stream.codec_context.thread_count = 1
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
            stream.time_base = stream.codec_context.time_base = Fraction(1, base)
            for key, value in (tags or {}).items():
                setattr(stream.codec_context, key, value)
            if rotation:
                stream.set_display_rotation(rotation)
            audio = output.add_stream(sound, rate=16000, layout="mono") if sound else None
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
                frame.pts, frame.time_base = (
                    (times(number) if times else number * base // rate),
                    Fraction(1, base),
                )
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if audio is not None:
                seconds = frames / rate
                wave = np.sin(np.arange(int(16000 * seconds)) / 8).astype(np.float32) / 2
                layout, kind = ("mono", "u8" if sound == "pcm_u8" else "fltp")
                samples = (wave * 127 + 128).astype(np.uint8) if kind == "u8" else wave
                size = audio.codec_context.frame_size or 1024
                for start in range(0, len(samples) - size, size):
                    piece = av.AudioFrame.from_ndarray(samples[None, start : start + size], kind, layout)
                    piece.sample_rate, piece.pts, piece.time_base = 16000, start, Fraction(1, 16000)
                    output.mux(audio.encode(piece))
                output.mux(audio.encode(None))
        return path

    return make
