"""Long videos for benchmarks, without encoding them."""

from pathlib import Path

import av


def repeat(clip: Path, path: Path, seconds: int, turns: int) -> None:
    """Write the packets of a clip of `seconds` one after the other, `turns` times."""
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
