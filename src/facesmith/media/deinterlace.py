"""Turn interlaced frames into progressive ones, one for one."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph

from facesmith.media.planes import PlaneFrame

_BASE = Fraction(1, 1000)  # of numbers that are carried in place of times


def deinterlace(frames: Iterable[tuple[int, PlaneFrame]]) -> Iterator[tuple[int, PlaneFrame]]:
    """Yield progressive frames (FFmpeg's bwdif); frames that are not marked as interlaced pass as they are.

    Args:
        frames: Numbers, ascending, and frames of one size and format.

    Yields:
        Number and frame, one for each.
    """
    graph: Graph | None = None
    for number, planes in frames:
        frame = planes.frame
        if graph is None:
            graph = _make_graph(planes)
        frame.pts, frame.time_base = number, _BASE
        graph.push(frame)
        yield from _pull(graph)
    if graph is not None:
        graph.push(None)
        yield from _pull(graph)


def _make_graph(planes: PlaneFrame) -> Graph:
    frame = planes.frame
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_BASE)
    removes = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(removes)
    removes.link_to(sink)
    graph.configure()
    return graph


def _pull(graph: Graph) -> Iterator[tuple[int, PlaneFrame]]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        assert frame.pts is not None
        assert frame.time_base is not None
        yield round(frame.pts * frame.time_base / _BASE), PlaneFrame(frame)
