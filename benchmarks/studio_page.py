"""What the studio's page costs: python benchmarks/studio_page.py [--project <folder>].

Until its address answers, and until the real page is there: elapsed time and CPU time of the server's process. Then,
with one page open in headless Chromium (or, without one, a client that listens as a page does): its memory, and the
share of a core that it takes while nothing happens.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def a_page_open(address: str) -> Iterator[str]:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
            options.add_argument(f"--{flag}")
        window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        window.get(address)
        while not window.find_elements("css selector", "#tabs [role=tab]"):
            time.sleep(0.2)
        try:
            yield "one page open in Chromium"
        finally:
            window.quit()
        return
    known = {"Authorization": f"Bearer {address.partition('token=')[2]}"}
    base = address.partition("?")[0]

    def listen() -> None:
        with (
            httpx.Client(headers=known, timeout=None, trust_env=False) as client,
            client.stream("GET", f"{base}studio/pulse") as pulse,
        ):
            for _ in pulse.iter_lines():
                pass

    threading.Thread(target=listen, daemon=True).start()
    yield "one client that listens"


def tell(what: str, began: float, process: psutil.Process) -> None:
    elapsed = time.perf_counter() - began
    print(f"{what:20} elapsed {elapsed:6.2f} s   CPU {cpu_seconds(process):5.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", type=Path, help="a project's folder; an empty one where it is left out")
    parser.add_argument("--rest", type=float, default=20, help="seconds until the page has come to rest")
    parser.add_argument("--seconds", type=float, default=60, help="of the measurement at rest")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        project = arguments.project or Path(empty)
        began = time.perf_counter()
        command = [sys.executable, "-u", "-m", "facesmith", "studio", f"project={project}", "open_browser=false"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None, "it did not start"
            process = psutil.Process(server.pid)
            tell("its address answers", began, process)
            while httpx.get(address[0], trust_env=False).status_code != 200:
                time.sleep(0.05)
            tell("the page is there", began, process)
            with a_page_open(address[0]) as how:
                time.sleep(arguments.rest)
                before = cpu_seconds(process)
                time.sleep(arguments.seconds)
                share = (cpu_seconds(process) - before) / arguments.seconds
                memory = process.memory_info().rss / 1e6
                print(f"at rest, {how}: {100 * share:.2f} % of a core, {memory:.0f} MB")
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
