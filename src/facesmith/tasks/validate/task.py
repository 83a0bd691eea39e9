"""The validate task: metrics of swapped media, a report, and an error when limits are missed."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import write_text
from facesmith.media.sources import find_media
from facesmith.progress import progress_bar, waiting
from facesmith.tasks.batch import BarReport, Batch, Engine
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.profiles.combine import limit_for_embedder
from facesmith.tasks.validate.config import ValidateTaskConfig
from facesmith.tasks.validate.file_meter import FileMeter, ValidateJob, worst
from facesmith.tasks.validate.frames import match_targets
from facesmith.tasks.validate.report import ReportedFrame, render_report
from facesmith.tasks.validate.results import FrameResult, LimitResult, check_limits, rejections, summarize
from facesmith.terminal import make_console, print_line

_REASONS: Final = 6  # printed


class ValidateTask:
    """Measure swapped pictures and videos against a person and against what they were swapped into.

    Args:
        config: The settings.
        analyzer: Makes an analyzer.
        engine: Where the files are measured.
        progress: Whether to show a progress bar.

    Raises:
        UserError: Source, target or profile do not fit together.
    """

    def __init__(
        self,
        config: ValidateTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        self._config, self._analyzer, self._engine, self._progress = config, analyzer, engine, progress
        self._media = find_media(config.source)
        self._targets = match_targets(self._media, config.target)
        self._profile = IdentityProfile.load(config.profile)
        self._limits = {
            "min_similarity": limit_for_embedder(config.min_similarity, self._profile.embedder, "task.min_similarity"),
            "max_judge_distance": config.max_judge_distance,
            "max_shift": config.max_shift,
            "max_misses": config.max_misses,
            "max_jitter": config.max_jitter,
            "min_sharpness": config.min_sharpness,
            "min_accepted": config.min_accepted,
        }
        self._console = make_console()

    def run(self) -> list[Path]:
        """Measure, write metrics and report, and check the limits.

        Returns:
            The files written.

        Raises:
            UserError: No frame has a face, or, once all is written, limits are missed.
        """
        jobs = [ValidateJob(*pair) for pair in zip(self._media, self._targets, strict=True)]
        measured: dict[Path, list[FrameResult]] = {}
        examples: list[ReportedFrame] = []
        with waiting("preparing what measures", shown=self._progress):
            meter = FileMeter(self._config, analyzer=self._analyzer)
        with closing(meter):
            if meter.note is not None:
                print_line(meter.note, self._console)
            with progress_bar(shown=self._progress, console=self._console) as bar:
                report = BarReport(bar, len(jobs))
                batch = Batch(len(jobs), report.tell, self._config)
                for job, (found, shown) in batch.map(self._engine, jobs, meter, report):
                    measured[job.media.path] = found
                    examples = worst([*examples, *shown])
        frames = [frame for media in self._media for frame in measured.get(media.path, [])]
        batch.require_any(frames, "source: nothing measured of any of")
        if not any(frame.metrics.similarity is not None for frame in frames):
            raise UserError(f"source: no face found in any of {len(frames)} frames; give swapped pictures or videos")
        metrics = summarize(frames)
        checked = check_limits(metrics, self._limits)
        written = self._write(frames, metrics, checked, examples)
        self._print(frames, metrics, checked, written)
        missed = [limit for limit in checked if not limit.passed]
        if batch.failed:
            raise UserError(
                f"{self._config.output}: {len(batch.failed)} of {len(self._media)} files could not be measured; first: "
                f"{next(iter(batch.failed.values()))}"
            )
        if missed:
            raise UserError(
                f"{self._config.output}: {len(missed)} of {len(checked)} limits missed: "
                f"{'; '.join(str(limit) for limit in missed)}; see {written[1]}"
            )
        return written

    def _write(
        self,
        frames: Sequence[FrameResult],
        metrics: Mapping[str, float],
        checked: Sequence[LimitResult],
        examples: Sequence[ReportedFrame],
    ) -> list[Path]:
        about: dict[str, Any] = {
            "source": [str(media.path) for media in self._media],
            "target": [None if path is None else str(path) for path in self._targets],
            "identity": self._profile.id,
            "embedder": self._profile.embedder,
            "passed": all(limit.passed for limit in checked),
            "limits": [limit.to_dict() for limit in checked],
            "summary": metrics,
        }
        results, page = self._config.output / "validation.json", self._config.output / "validation.html"
        write_text(results, json.dumps({**about, "frames": [frame.to_dict() for frame in frames]}, indent=1) + "\n")
        write_text(page, render_report(about, frames, checked, examples))
        return [results, page]

    def _print(
        self,
        frames: Sequence[FrameResult],
        metrics: Mapping[str, float],
        checked: Sequence[LimitResult],
        written: Sequence[Path],
    ) -> None:
        limits = {limit.metric: limit for limit in checked}
        for name, value in metrics.items():
            limit = limits.get(name)
            note = "" if limit is None else f"   {'ok' if limit.passed else 'MISSED'}: {limit.condition}"
            print_line(f"{name:<24}{value:8.3f}{note}", self._console)
        for reason, count in rejections(frames)[:_REASONS]:
            print_line(f"rejected {count} of {len(frames)}: {reason}", self._console)
        missed = [limit.metric for limit in checked if not limit.passed]
        verdict = f"{', '.join(missed)} missed" if missed else "all kept"
        print_line(f"{len(checked)} limits: {verdict}", self._console)
        print_line(f"metrics {written[0]}\nreport  {written[1]}", self._console)
