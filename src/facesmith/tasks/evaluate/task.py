"""The evaluate task: figures of anybody's swaps, with intervals, as JSON, CSV and one page."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import numpy as np

from facesmith import __version__
from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import file_sha256, make_private_folder, name_full_disk, require_writable, write_text
from facesmith.metrics.figures import PAIR_FIGURES, Figure, identity_figures
from facesmith.metrics.statistics import LEAST_PAIRS
from facesmith.progress import progress_bar
from facesmith.tasks.batch import BarReport, Batch, Engine
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.engine.threads import ThreadEngine
from facesmith.tasks.evaluate.config import EvaluateTaskConfig
from facesmith.tasks.evaluate.frechet import STAND_IN, load_inception, measure_frechet
from facesmith.tasks.evaluate.jobs import PairJob, PairMeasure, PersonJob, PersonStudy
from facesmith.tasks.evaluate.journal import Journal
from facesmith.tasks.evaluate.measuring import PairResult
from facesmith.tasks.evaluate.pairs import Pair, Person, find_people, match_by_name, read_pairs
from facesmith.tasks.evaluate.people import KnownPerson, People, find_doubles, make_gallery
from facesmith.tasks.evaluate.people_store import PeopleStore
from facesmith.tasks.evaluate.recognisers import find_recognisers
from facesmith.tasks.evaluate.report import Report, describe_training, format_number, render_report
from facesmith.tasks.evaluate.results import MeasuredPairs, pair_key, to_csv
from facesmith.tasks.evaluate.shown import show_pairs
from facesmith.tasks.evaluate.summary import Comparison, compare, summarize, tabulate, to_dict
from facesmith.tasks.evaluate.workers import Worker, WorkerPool
from facesmith.terminal import make_console, print_line

_NAMES: Final = 5  # in a message
_CERTAIN: Final = 0.05


class EvaluateTask:
    """Measure swaps of any tool beside their targets and sources.

    Args:
        config: The settings.
        analyzer: Makes an analyzer.
        engine: Where people and pairs are measured; by default threads of this process, `workers` at a time.
        progress: Whether to show a progress bar.

    Raises:
        UserError: Swaps, targets and sources do not belong together.
    """

    def __init__(
        self,
        config: EvaluateTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        self._config, self._make_analyzer, self._progress = config, analyzer, progress
        self._engine: Engine = engine
        if engine.threads is None:
            self._engine = ThreadEngine(config.workers or os.cpu_count() or 1)
        self._console = make_console()
        self._notes: list[str] = []
        require_writable(config.output, "output")
        people = find_people(config.sources, "sources", one_person=config.one_person)
        self._others = None if config.gallery is None else find_people(config.gallery, "gallery")
        self._pairs, unused = self._match(config.swaps, "swaps", people)
        if unused:
            self._notes.append(f"{len(unused)} targets have no swap and are not measured: {_list(unused)}")
        self._their_pairs = [] if config.against is None else self._match(config.against, "against", people)[0]
        if config.against is not None and not {p.name for p in self._pairs} & {p.name for p in self._their_pairs}:
            raise UserError(
                f"task.against={config.against}: shares no file name with task.swaps; give swaps of the same pairs"
            )
        used = {pair.person for pair in (*self._pairs, *self._their_pairs)}
        self._sources = {name: one for name, one in people.items() if config.gallery is None or name in used}

    def run(self) -> list[Path]:
        """Measure all pairs that were not measured before, and write the results.

        Returns:
            The files written.

        Raises:
            UserError: Nothing could be measured, or, once all is written, some pairs could not.
        """
        config = self._config
        if config.fid not in (None, STAND_IN):
            load_inception(Path(config.fid).expanduser())  # a mistake is told before hours of work
        if not config.output.exists():
            make_private_folder(config.output)
        names = find_recognisers(config.recognisers, config.arcface, self._tell)
        if not names:
            raise UserError(f"task.recognisers={config.recognisers}: the weights of none of them can be had")
        pool = WorkerPool(self._make_analyzer, names, config.arcface)
        with name_full_disk(config.output), closing(pool) as workers:
            people = self._study_people(workers)
            settings = self._settings(workers.first, people)
            known = [one.name for one in workers.first.recognisers]
            for name in config.trained_against or []:
                if name not in known:
                    self._tell(f"task.trained_against: {name} is none of the recognisers here ({', '.join(known)})")
            ours, theirs = self._measure(people, settings, workers)
            identity = {
                one.name: identity_figures(one.name, one.measure, len(people.embeddings(one.name)[0]))
                for one in workers.first.recognisers
            }
        return self._write(ours, theirs, people, identity)

    def _match(self, swaps: str | list[str], key: str, people: dict[str, Person]) -> tuple[list[Pair], list[str]]:
        config = self._config
        if config.pairs is not None:
            return read_pairs(config.pairs, swaps, config.targets, people, key)
        return match_by_name(swaps, config.targets, people, config.names, key)

    def _tell(self, line: str) -> None:
        self._notes.append(line)
        print_line(line, self._console)

    def _tell_what_has_no_interval(self, count: int) -> None:
        if count == 1:
            self._tell("one pair: figures have no interval")
        elif count < max(LEAST_PAIRS.values()):
            needed = f"means need {LEAST_PAIRS['mean']} pairs for an interval, medians {LEAST_PAIRS['median']}"
            self._tell(f"{count} pairs: {needed}; with fewer none holds what it says")

    def _study_people(self, workers: WorkerPool) -> People:
        """Find and embed the faces of sources and gallery, but of those that were before."""
        config, first = self._config, workers.first
        about = [first.analyzer.fingerprint, self._recognisers(first), config.source_frames]
        store = PeopleStore(config.output / "people", [*about, config.backend], resume=config.resume)
        found: dict[str, dict[str, KnownPerson]] = {"source": {}, "gallery": {}}
        everybody = [PersonJob("source", one) for one in self._sources.values()]
        everybody += [PersonJob("gallery", one) for one in (self._others or {}).values()]
        jobs: list[PersonJob] = []
        for job in everybody:
            known = store.load(job.person)
            if known is None:
                jobs.append(job)
            else:
                found[job.of][known.name] = known
        with progress_bar(shown=self._progress and len(jobs) > 1, console=self._console) as bar:
            report = BarReport(bar, len(jobs), title="people")
            batch = Batch(len(everybody), self._tell, config)
            for job, person in batch.map(self._engine, jobs, PersonStudy(config, workers), report):
                if isinstance(person, KnownPerson):
                    store.save(job.person, person)
                    found[job.of][person.name] = person
                elif job.of == "source":
                    raise UserError(person)
                else:
                    self._tell(f"not in the gallery: {person}")
        lost = next((one for name, one in self._sources.items() if name not in found["source"]), None)
        if lost is not None:
            raise UserError(batch.failed[PersonJob("source", lost).path])
        sources = {name: found["source"][name] for name in self._sources}
        others = {name: found["gallery"][name] for name in self._others or {} if name in found["gallery"]}
        if self._others is not None and not others:
            raise UserError(f"task.gallery={config.gallery}: shows no face; give portraits of people")
        people = make_gallery(sources, others if self._others is not None else None)
        measures = {one.name: one.measure for one in workers.first.recognisers}
        for note in (*people.notes, *find_doubles(people, measures)):
            self._tell(note)
        if len(people.gallery) < 2:
            self._tell("the gallery holds one person: retrieval is not measured; give task.gallery=<folder of people>")
        return people

    def _recognisers(self, worker: Worker) -> list[str]:
        """Return what tells recognisers apart."""
        own = self._config.arcface
        return [
            f"arcface {file_sha256(own)}" if own and one.name == "arcface" else one.name for one in worker.recognisers
        ]

    def _state_profiles(self) -> list[dict[str, str]]:
        """Return whose profiles were used, so that the report is found when one of them is purged."""
        known = [*self._sources.values(), *(self._others or {}).values()]
        profiles = [IdentityProfile.load(one.profile) for one in known if one.profile is not None]
        return [{"identity": ",".join([one.id, *one.ancestors]), "face_set": one.face_set} for one in profiles]

    def _settings(self, worker: Worker, people: People) -> str:
        """Return a hash of all that decides a pair's figures, but its own files."""
        gallery = {
            name: {key: np.asarray(value, np.float32).tobytes().hex() for key, value in one.embeddings.items()}
            for name, one in people.gallery.items()
        }
        facts = [__version__, worker.analyzer.fingerprint, self._recognisers(worker), self._config.max_frames, gallery]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _measure(self, people: People, settings: str, workers: WorkerPool) -> list[MeasuredPairs]:
        """Measure the pairs that were not before: the swaps, and those they are compared with."""
        config, jobs, journals = self._config, list[PairJob](), dict[str, Journal]()
        sets = {"pairs": self._pairs, "against": self._their_pairs}
        with ExitStack() as stack:
            for name, pairs in sets.items():
                if not pairs:
                    continue
                path = config.output / f"{name}.jsonl"
                journals[name] = stack.enter_context(Journal(path, settings, resume=config.resume))
                keys = {pair_key(pair): pair for pair in pairs}
                left = [PairJob(name, key, pair) for key, pair in keys.items() if key not in journals[name]]
                if len(left) < len(pairs):
                    print_line(f"{len(pairs) - len(left)} of {len(pairs)} {name} were measured before", self._console)
                jobs += left
            bar = stack.enter_context(progress_bar(shown=self._progress and len(jobs) > 1, console=self._console))
            report = BarReport(bar, len(jobs), title="pairs")
            batch = Batch(len(self._pairs), report.tell, config)
            for job, result in batch.map(self._engine, jobs, PairMeasure(config, workers, people), report):
                journals[job.of].add(job.key, result)
        lost = {
            job.key: PairResult(job.pair.name, job.pair.person, 0, {}, failed=batch.failed[job.path])
            for job in jobs
            if job.key not in journals[job.of]
        }
        return [MeasuredPairs(pairs, journals.get(name), lost) for name, pairs in sets.items()]

    def _write(
        self, ours: MeasuredPairs, theirs: MeasuredPairs, people: People, identity: dict[str, tuple[Figure, ...]]
    ) -> list[Path]:
        config = self._config
        figures = [*(figure for group in identity.values() for figure in group), *PAIR_FIGURES]
        failed = [result for result in ours.results() if result.failed]
        if len(failed) == len(ours.pairs):
            raise UserError(f"none of {len(failed)} pairs could be measured; first: {failed[0].failed}")
        self._tell_what_has_no_interval(len(ours.pairs) - len(failed))
        against = self._compare(ours, theirs, figures)
        worst, best = ours.rank(config.examples)
        pairs = zip(ours.pairs, ours.results(), strict=True)
        report = Report(
            name=_name(config.swaps),
            about=self._describe(ours, people, len(failed)),
            notes=[*self._notes, *dict.fromkeys(f"not measured: {one.failed}" for one in failed[:_NAMES])],
            identity=identity,
            trained_against=config.trained_against,
            estimates=summarize(tabulate(ours.results(), figures), figures),
            frechet=None if config.fid is None else measure_frechet(config.fid, pairs, config.backend),
            against=against,
            worst=show_pairs(worst, people, config.backend),
            best=show_pairs(best, people, config.backend),
        )
        about = {
            "swaps": config.swaps,
            "targets": config.targets,
            "sources": config.sources,
            "against": config.against,
            "pairs": len(ours.pairs),
            "failed": [{"pair": one.name, "reason": one.failed} for one in failed],
            "gallery": len(people.gallery),
            "profiles": self._state_profiles(),
            "recognisers": {name: describe_training(name, config.trained_against) for name in identity},
            "notes": report.notes,
            "figures": {name: to_dict(one) for name, one in report.estimates.items()},
            "frechet": None if report.frechet is None else to_dict(report.frechet),
            "comparison": None if against is None else [to_dict(one) for one in against[1]],
            "version": __version__,
        }
        written = [config.output / name for name in ("evaluation.json", "pairs.csv", "evaluation.html")]
        write_text(written[0], json.dumps(about, indent=1) + "\n")
        write_text(written[1], to_csv({"swaps": ours, "against": theirs}, [one.name for one in figures]))
        write_text(written[2], render_report(report))
        self._print(report, figures, written)
        if config.wandb_project is not None:
            from facesmith.tasks.evaluate.wandb_log import log_evaluation

            page = written[2] if config.wandb_media else None
            log_evaluation(config.wandb_project, config.output, report, page)
        if failed:
            raise UserError(
                f"{len(failed)} of {len(ours.pairs)} pairs could not be measured; the others were; first: "
                f"{failed[0].failed}"
            )
        return written

    def _compare(
        self, ours: MeasuredPairs, theirs: MeasuredPairs, figures: Sequence[Figure]
    ) -> tuple[str, list[Comparison]] | None:
        if self._config.against is None:
            return None
        places = {pair.name: i for i, pair in enumerate(theirs.pairs)}
        shared = np.array([(i, places[pair.name]) for i, pair in enumerate(ours.pairs) if pair.name in places])
        if len(shared) < max(len(ours.pairs), len(theirs.pairs)):
            counts = f"{len(ours.pairs)} and {len(theirs.pairs)}"
            self._tell(f"compared on the {len(shared)} pairs that both have, of {counts}")
        tables = [
            {name: column[rows] for name, column in tabulate(one.results(), figures).items()}
            for one, rows in zip((ours, theirs), shared.T, strict=True)
        ]
        return _name(self._config.against), compare(tables[0], tables[1], figures)

    def _describe(self, ours: MeasuredPairs, people: People, failed: int) -> str:
        videos = sum(pair.swap.kind == "video" for pair in ours.pairs)
        what = f"{len(ours.pairs) - videos} pictures" + (f" and {videos} videos" if videos else "")
        measured = f"; {failed} could not be measured" if failed else ""
        return (
            f"{what}{measured}. {len({pair.person for pair in ours.pairs})} sources, gallery of "
            f"{len(people.gallery)} people. facesmith {__version__}. "
            "Intervals hold for other pairs of these people, not for other people."
        )

    def _print(self, report: Report, figures: Sequence[Figure], written: Sequence[Path]) -> None:
        lines = []
        for figure in figures:
            one = report.estimates.get(figure.name)
            if one is not None:
                interval = "" if np.isnan(one.low) else f"  {format_number(one.low)} .. {format_number(one.high)}"
                lines.append(f"{figure.name:<28}{format_number(one.value):>9}{interval}")
        if report.frechet is not None and not np.isnan(report.frechet.value):
            lines.append(f"{report.frechet.name:<28}{format_number(report.frechet.value):>9}")
        name, rows = report.against or ("", [])
        for row in rows:
            if row.adjusted < _CERTAIN:
                values = f"{format_number(row.ours)}, {name} {format_number(row.theirs)}"
                lines.append(f"{row.figure.name}: {values} (adjusted p {row.adjusted:.4f})")
        print_line("\n".join([*lines, *map(str, written)]), self._console)


def _name(setting: str | list[str]) -> str:
    return _list([Path(one).name or one for one in ([setting] if isinstance(setting, str) else setting)])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
