import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facesmith.tasks.swap.video_processing import map_in_order, prefetch


def test_map_in_order_keeps_order():
    def work(i):
        time.sleep(0.01 if i % 3 == 0 else 0)
        return i * i

    with ThreadPoolExecutor(4) as pool:
        assert list(map_in_order(pool, work, range(40), 8)) == [i * i for i in range(40)]


def test_map_in_order_limits_depth():
    taken = []

    def source():
        for i in range(100):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = map_in_order(pool, lambda i: i, prefetch(source(), 3), 4)
        assert next(results) == 0
        time.sleep(0.05)
        assert len(taken) <= 3 + 4 + 1
        results.close()


def test_prefetch_runs_source_on_own_thread():
    def source():
        yield threading.current_thread()

    assert next(prefetch(source(), 2)) is not threading.main_thread()


def test_prefetch_exception_passes_at_its_place():
    def source():
        yield 1
        raise OSError("cut short")

    stream = prefetch(source(), 3)
    assert next(stream) == 1
    with pytest.raises(OSError, match="cut short"):
        next(stream)

    with ThreadPoolExecutor(2) as pool:
        results = map_in_order(pool, lambda i: 1 // i, [1, 1, 0, 1], 2)
        with pytest.raises(ZeroDivisionError):
            list(results)
