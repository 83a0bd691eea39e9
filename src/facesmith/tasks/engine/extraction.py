"""Extraction on an engine: the pictures of each file are analysed in parts, each part a job."""

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.analysis import AnalysedPicture, ChosenMedia, ReadFailure, analyse_media
from facesmith.faces.face_set.extraction import Analyse, ExtractionSettings
from facesmith.progress import progress_bar
from facesmith.tasks.batch import BarReport, Batch, Engine, Report, require_same_analyzer

_PART: Final = 64  # pictures of a file: what a killed worker costs


def analyse_on(engine: Engine) -> Analyse | None:
    """Return what analyses pictures where an engine works; None for this process, where threads share all pictures.

    Args:
        engine: Of the job.
    """
    return None if engine.threads is None else partial(_analyse, engine)


@dataclass(frozen=True)
class AnalysisJob:
    """Some pictures of one file.

    Attributes:
        chosen: The file and its frames.
    """

    chosen: ChosenMedia

    @property
    def path(self) -> Path:
        """The file."""
        return self.chosen.media.path


class PictureAnalyzer:
    """Find the faces in some pictures of one file after the other, and write their crops.

    Attributes:
        config: Settings of the extraction.
    """

    def __init__(self, config: ExtractionSettings, analyzer: Analyzer, crops: Path) -> None:
        """Take an analyzer; another process makes its own.

        Args:
            config: Settings of the extraction.
            analyzer: Stays open.
            crops: Existing folder, for the crops.
        """
        self.config, self._analyzer, self._crops = config, analyzer, crops

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the settings, and as what tells the analyzer from others."""
        return _load, (self.config, self._analyzer.fingerprint, self._crops)

    def __call__(self, job: AnalysisJob, report: Report) -> list[AnalysedPicture | ReadFailure]:
        """Analyse pictures.

        Args:
            job: The pictures.
            report: Takes nothing: the extraction counts the pictures.

        Returns:
            The pictures, and what could not be read.
        """
        make, backend = self.config.analyzer, self.config.backend
        return list(analyse_media([job.chosen], self._analyzer, make, backend=backend, workers=1, crops=self._crops))


def _load(config: ExtractionSettings, fingerprint: str, crops: Path) -> PictureAnalyzer:
    analyzer = config.analyzer()
    require_same_analyzer(analyzer, fingerprint)
    return PictureAnalyzer(config, analyzer, crops)


def _analyse(
    engine: Engine, chosen: Sequence[ChosenMedia], settings: ExtractionSettings, analyzer: Analyzer, crops: Path
) -> Generator[AnalysedPicture | ReadFailure, None, None]:
    """Yield analysed pictures as they come, and in the end what could not be read, file by file."""
    jobs = [
        AnalysisJob(replace(one, frames=one.frames[start : start + _PART]))
        for one in chosen
        for start in range(0, len(one.frames), _PART)
    ]
    report = BarReport(progress_bar(shown=False), 1)  # the extraction draws its own
    batch = Batch(len(jobs), report.tell, settings)
    missing = Counter(job.path for job in jobs)
    parts, failures = missing.copy(), defaultdict[Path, list[ReadFailure]](list)
    for job, events in batch.map(engine, jobs, PictureAnalyzer(settings, analyzer, crops), report):
        missing[job.path] -= 1
        for event in events:
            if isinstance(event, AnalysedPicture):
                yield event
            else:
                failures[job.path].append(event)
    media = {one.media.path: one.media for one in chosen}
    for path, reason in batch.failed.items():
        failures[path] += [ReadFailure(media[path], reason, True)] * missing[path]
    for path, found in failures.items():
        whole = sum(failure.unreadable for failure in found) == parts[path]
        for message in dict.fromkeys(failure.message for failure in found):
            yield ReadFailure(media[path], message, whole)
