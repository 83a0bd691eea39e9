"""What an engine does for an evaluation: find the faces of people, and measure pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facesmith.errors import UserError
from facesmith.tasks.batch import Report
from facesmith.tasks.evaluate.config import EvaluateTaskConfig
from facesmith.tasks.evaluate.measuring import PairMeter, PairResult
from facesmith.tasks.evaluate.pairs import Pair, Person
from facesmith.tasks.evaluate.people import KnownPerson, People, study
from facesmith.tasks.evaluate.workers import WorkerPool


@dataclass(frozen=True)
class PersonJob:
    """A person to find and embed.

    Attributes:
        of: Why.
        person: The person's files.
    """

    of: Literal["source", "gallery"]
    person: Person

    @property
    def path(self) -> Path:
        """The first of the files."""
        return self.person.profile or self.person.media[0].path


@dataclass(frozen=True)
class PairJob:
    """A pair to measure.

    Attributes:
        of: The set it belongs to: `pairs` or `against`.
        key: Of its result.
        pair: The files.
    """

    of: str
    key: str
    pair: Pair

    @property
    def path(self) -> Path:
        """The swap."""
        return self.pair.swap.path


class PersonStudy:
    """Finds the faces of one person after the other, and embeds them.

    Args:
        config: The settings.
        workers: Lends analyzers and recognisers.
    """

    def __init__(self, config: EvaluateTaskConfig, workers: WorkerPool) -> None:
        self.config, self._workers = config, workers

    def __call__(self, job: PersonJob, report: Report) -> KnownPerson | str:
        """Return what is known of a person; where that is nothing, why."""
        config = self.config
        try:
            with self._workers.borrow() as worker:
                return study(
                    job.person,
                    worker.analyzer,
                    worker.recognisers,
                    frames=config.source_frames,
                    backend=config.backend,
                    face_sets=config.face_sets,
                )
        except UserError as error:
            return str(error)


class PairMeasure:
    """Measures one pair after the other.

    Args:
        config: The settings.
        workers: Lends analyzers and recognisers.
        people: Sources and gallery.
    """

    def __init__(self, config: EvaluateTaskConfig, workers: WorkerPool, people: People) -> None:
        self.config, self._workers, self._people = config, workers, people

    def __call__(self, job: PairJob, report: Report) -> PairResult:
        """Measure a pair; what cannot be read is a result too."""
        config = self.config
        with self._workers.borrow() as worker:
            meter = PairMeter(
                worker.analyzer,
                worker.recognisers,
                self._people,
                backend=config.backend,
                max_frames=config.max_frames,
            )
            return meter(job.pair)
