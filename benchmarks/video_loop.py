"""Long videos for benchmarks: a clip's packets repeated, without encoding them."""

from collections.abc import Callable
from pathlib import Path

import av


def make_long_video(path: Path, seconds: int, loop: int, make_clip: Callable[[Path], None]) -> None:
    """Repeat a clip, which is encoded once, beside the video.

    Args:
        path: The video.
        seconds: Its length.
        loop: Length of the clip in seconds.
        make_clip: Writes it.
    """
    clip = path.with_name("loop.mp4")
    if not clip.exists():
        make_clip(clip)
    repeat_clip(clip, path, loop, seconds // loop)


def repeat_clip(clip: Path, path: Path, seconds: int, turns: int) -> None:
    """Write the packets of a clip one after the other, several times.

    Args:
        clip: A short video.
        path: The long one.
        seconds: Length of the clip.
        turns: How many times it is repeated.
    """
    with av.open(str(path), "w") as container:
        for turn in range(turns):
            with av.open(str(clip)) as once:
                played = once.streams.video[0]
                stream = container.streams.video[0] if turn else container.add_stream_from_template(played)
                for packet in once.demux(played):
                    if packet.dts is not None:
                        later = int(turn * seconds / packet.time_base)
                        packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
                        container.mux(packet)
