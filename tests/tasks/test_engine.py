"""Tasks of many files on an engine, without a cluster: what is sent is pickled, results come in any order."""

import pickle
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.cli.infer import infer
from facesmith.config.schema import InferConfig
from facesmith.config.settings import AnalyzerConfig
from facesmith.errors import DiskFullError, UserError
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.media.images import read_image, write_image
from facesmith.media.sources import Media
from facesmith.tasks.batch import BarReport, Batch, Failure, J, R, Report, Work, attempt
from facesmith.tasks.engine.extraction import analyse_on
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.mask.task import MaskTask
from facesmith.tasks.swap.file_swap import FileSwapper, SwapJob
from facesmith.tasks.swap.task import SwapTask

from ..small_media import EXTRACTION


class FarAway:
    """Works as another process would, on the last file first."""

    threads: int | None = 1

    def run(self, jobs: Sequence[J], work: Work[J, R], report: Report) -> Iterator[tuple[J, R | Failure]]:
        there = pickle.loads(pickle.dumps(work))
        for job in reversed(jobs):
            sent = pickle.loads(pickle.dumps(job))
            outcome = attempt(partial(there, sent, report), there.config)
            yield job, outcome if isinstance(outcome, Failure) else pickle.loads(pickle.dumps(outcome))


def settings(task: str, source: Path, output: Path, *given: str) -> tuple[InferConfig, partial[object]]:
    """Return a task's settings, and what makes its analyzer."""
    overrides = [f"task={task}", f"source={source}", f"output={output}", "analyzer.detector_sizes=[256]", *given]
    config = load_config("infer", InferConfig, overrides)
    assert isinstance(config.analyzer, AnalyzerConfig)
    return config.task, config.analyzer.build


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two portraits, and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, picture in {"a.png": astronaut()[:256, 100:356], "b.png": astronaut()[:256, 355:99:-1]}.items():
        write_image(folder / name, np.ascontiguousarray(picture), mark=None)
    (folder / "c.jpg").write_text("no picture")
    return folder


def test_swap_on_another_engine_equals_local(swapper_file, pictures, tmp_path, capsys) -> None:
    made = {}
    for name, engine in {"here": LOCAL, "there": FarAway()}.items():
        given = [f"task.model={swapper_file}", "task.masks=[box]"]
        config, analyzer = settings("swap", pictures, tmp_path / name, *given)
        made[name] = SwapTask(config, analyzer=analyzer, engine=engine, progress=False).run()
        said = capsys.readouterr().out
        assert said.count("skipped: ") == 1
        assert f"{pictures / 'c.jpg'}" in said
        assert "swapped 2 files, skipped 1" in said
    assert [path.name for path in made["there"]] == ["a.png", "b.png"]
    for here, there in zip(made["here"], made["there"], strict=True):
        np.testing.assert_array_equal(read_image(here), read_image(there))


def test_mask_on_another_engine_equals_local(pictures, tmp_path) -> None:
    made = {}
    for name, engine in {"here": LOCAL, "there": FarAway()}.items():
        config, analyzer = settings("mask", pictures, tmp_path / name)
        made[name] = MaskTask(config, analyzer=analyzer, engine=engine, progress=False).run()
    names = ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]
    assert [[path.name for path in paths] for paths in made.values()] == [names, names]
    for here, there in zip(made["here"], made["there"], strict=True):
        np.testing.assert_array_equal(read_image(here), read_image(there))


def test_extraction_on_another_engine_equals_local(two_people, two_people_set, tmp_path) -> None:
    there = extract(two_people, ExtractionSettings(root=tmp_path, **EXTRACTION), analyse_on(FarAway()))
    assert there.key == two_people_set.key
    assert there.table.equals(two_people_set.table)
    for fact in ("skipped", "losses", "rejected", "consent"):
        assert there.meta[fact] == two_people_set.meta[fact]
    crops = sorted(path.name for path in (there.path / "crops").iterdir())
    assert crops == sorted(path.name for path in (two_people_set.path / "crops").iterdir())


def test_file_swapper_pickles_as_its_settings(swapper_file, tmp_path) -> None:
    given = [f"task.model={swapper_file}", "task.masks=[box]"]
    config, analyzer = settings("swap", tmp_path, tmp_path / "out", *given)
    sent = pickle.dumps(FileSwapper(config, analyzer=analyzer))
    assert len(sent) < swapper_file.stat().st_size
    swapper_file.unlink()
    with pytest.raises(UserError, match="no such file"):
        pickle.loads(sent)


class FullDisk:
    """Has no room for the second file."""

    config = None

    def __call__(self, job: SwapJob, report: Report) -> Path:
        if job.media.path.name == "b.png":
            raise DiskFullError(job.output, None, 0)
        return job.output


def test_batch_full_disk_ends_all_in_one_line(tmp_path) -> None:
    from rich.progress import Progress

    jobs = [SwapJob(Media(tmp_path / f"{name}.png", "image"), tmp_path / name, False) for name in "abc"]
    told: list[str] = []
    bar = Progress(disable=True)
    batch, done = Batch(3, told.append, None), []
    with pytest.raises(UserError, match=r"b: the disk is full: more needed, 0\.0 MB free; make room"):
        done.extend(batch.map(LOCAL, jobs, FullDisk(), BarReport(bar, 3)))
    assert (told, len(bar.tasks), bar.tasks[0].completed) == ([], 1, 2)


def test_ray_that_is_missing_is_one_line(swapper_file, pictures, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    given = [
        "task=swap",
        f"task.model={swapper_file}",
        f"source={pictures}",
        f"output={tmp_path / 'out'}",
        "engine=ray",
    ]
    with pytest.raises(UserError, match=r"engine=ray: Ray is not installed; pip install 'facesmith\[ray\]'"):
        infer(load_config("infer", InferConfig, given))


def test_task_of_one_machine_refuses_ray(tmp_path) -> None:
    pytest.importorskip("ray")
    given = ["task=blend", "task.name=ada", f"source={tmp_path}", "engine=ray"]
    with pytest.raises(UserError, match="engine: task=blend runs on one machine; omit engine"):
        infer(load_config("infer", InferConfig, given))
