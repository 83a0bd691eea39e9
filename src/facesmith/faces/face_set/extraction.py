"""From media to a face set on disk: once per content and settings, shared, resumable, never half-written."""

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.analysis import AnalysedPicture, Backend, ChosenMedia, ReadFailure, analyse_media
from facesmith.faces.face_set.config import ExtractionConfig, SelectionConfig, SmoothingConfig
from facesmith.faces.face_set.content_key import ContentHashes, compute_face_set_key
from facesmith.faces.face_set.coverage import describe_flaws
from facesmith.faces.face_set.curation import read_left_out
from facesmith.faces.face_set.face_set import CROPS, SCHEMA_VERSION, SHEET, FaceSet, analysis_schema
from facesmith.faces.face_set.finalize import ExtractionRecord, finalize, update_consent
from facesmith.faces.face_set.staging import LOG, ExtractionLog, remove_stale
from facesmith.files import hold_lock, make_private_folder, name_full_disk, partial_folder
from facesmith.media.sampling import allocate_frames
from facesmith.media.sources import Media, MediaList, find_media, printable
from facesmith.media.video import open_video
from facesmith.progress import progress_bar, waiting

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """Settings of an extraction, and facts recorded in the face set.

    Attributes:
        name: Slug of the person; everything of it lies under root / name.
        root: Folder of face sets.
        consent: Kind of consent; with consent_note and expires it travels with the set and is no part of its key.
        consent_note: Where the consent is recorded.
        expires: ISO date after which the consent no longer holds.
        analyzer: Makes an analyzer; each worker has its own.
        backend: Reader of videos.
        max_frames: How many pictures are analysed, evenly spaced.
        people: "one" keeps the identity that most pictures show, "many" every face within the selection's limits.
        selection: Limits a face must keep to.
        smoothing: Smoothing of landmarks along time.
        workers: Analysis threads; None: one a core.
        progress: Show a progress bar.
        setting: The key that named the source, for messages.
    """

    name: str
    root: Path
    consent: str
    consent_note: str
    expires: str | None = None
    analyzer: Callable[[], Analyzer]
    backend: Backend
    max_frames: int
    people: Literal["one", "many"]
    selection: SelectionConfig
    smoothing: SmoothingConfig
    workers: int | None = None
    progress: bool = True
    setting: str = "data.source"

    @classmethod
    def from_config(cls, config: ExtractionConfig, *, people: Literal["one", "many"], **changes: Any) -> Self:
        """Take the settings of a data module; `changes` (name, root, setting) replace its values."""
        settings: dict[str, Any] = {
            "name": config.name,
            "root": config.face_sets,
            "consent": config.consent,
            "consent_note": config.consent_note or "",
            "expires": config.expires,
            "analyzer": config.analyzer.build,
            "backend": config.media_backend,
            "max_frames": config.max_frames,
            "selection": config.selection,
            "smoothing": config.smoothing,
            "progress": config.progress,
        }
        return cls(people=people, **{**settings, **changes})

    def key_settings(self) -> dict[str, Any]:
        """Return the settings that decide the result, plain values; they are part of the key."""
        return {
            "backend": self.backend,
            "max_frames": self.max_frames,
            "people": self.people,
            "selection": self.selection.model_dump(),
            "smoothing": self.smoothing.model_dump(),
        }


class Analyse(Protocol):
    """Analyses pictures in other processes than this one, by `analyse_media`."""

    def __call__(
        self, chosen: Sequence[ChosenMedia], settings: ExtractionSettings, analyzer: Analyzer, crops: Path
    ) -> Generator[AnalysedPicture | ReadFailure, None, None]:
        """Analyse pictures; see `analyse_media`.

        Args:
            chosen: The media and their frames.
            settings: Of the extraction.
            analyzer: Of this process, whose fingerprint all others must have.
            crops: Existing folder, for the crops.
        """
        ...


def extract(
    source: str | Path | Sequence[str | Path], settings: ExtractionSettings, analyse: Analyse | None = None
) -> FaceSet:
    """Return the face set of the media, analysing only what no earlier call with the same key has.

    One call at a time works on a set; others wait for it and use its result. An interrupted call is continued by the
    next one. One bad file among good ones is skipped and noted in the set's meta.

    Args:
        source: Files, folders or globs of images and videos.
        settings: How the set is made. It lies under the first 12 digits of its key, readable by its owner only.
        analyse: Analyses the pictures elsewhere; None: threads of this process do.

    Raises:
        UserError: Nothing can be read, or no usable face is found; the message counts the reasons.
    """
    folder = settings.root / settings.name
    make_private_folder(folder)
    with waiting(f"reading the media of {settings.name}", shown=settings.progress):
        media, skipped = _hash_media(find_media(source), ContentHashes(folder / "contents.json"))
        if not media:
            raise UserError(_nothing_readable(settings.setting, skipped))
        opened = settings.analyzer()
    with name_full_disk(folder), contextlib.closing(opened) as analyzer:
        contents = [content for _, content in media]
        key = compute_face_set_key(contents, analyzer.fingerprint, settings.key_settings(), SCHEMA_VERSION)
        final = folder / key[:12]
        with hold_lock(final):
            if final.is_dir():
                update_consent(final, settings.consent, settings.consent_note, settings.expires)
                log.info("face set %s is there already: nothing is analysed again", final)
                return _report(FaceSet(final))
            remove_stale(folder, keep=final)
            record = ExtractionRecord(
                description={
                    "key": key,
                    "name": settings.name,
                    "consent": settings.consent,
                    "consent_note": settings.consent_note,
                    "expires": settings.expires,
                    "embedder": analyzer.embedder,
                    "embedding_size": analyzer.embedding_size,
                    "analyzer": analyzer.fingerprint,
                    "settings": settings.key_settings(),
                },
                setting=settings.setting,
                chosen=[],
                skipped=skipped,
            )
            _choose_frames(media, settings, record)
            faces = _report(_make(record, settings, analyzer, final, analyse))
            _report_left_out(faces)
            return faces


def _report(faces: FaceSet) -> FaceSet:
    """Log what is hidden of a person's faces."""
    lines = describe_flaws(faces.flaws)
    for line in lines:
        log.info("%s: %s", faces.meta["name"], line)
    if lines:
        log.info("what is hidden is hatched in %s", faces.path / SHEET)
    return faces


def _report_left_out(faces: FaceSet) -> None:
    """Log how many faces of a new set are left out because they were in an earlier one."""
    anywhere = read_left_out(faces.path)
    if not anywhere:
        return
    name, kept = faces.meta["name"], len(faces.left_out)
    log.info(
        "%s: %d of the %d faces that you left out before are in this set and stay out; facesmith faces %s shows them",
        name,
        kept,
        len(anywhere),
        name,
    )


def _make(
    record: ExtractionRecord, settings: ExtractionSettings, analyzer: Analyzer, final: Path, analyse: Analyse | None
) -> FaceSet:
    """Analyse what an earlier attempt has not, and finish the set."""
    partial = partial_folder(final)
    make_private_folder(partial)
    make_private_folder(partial / CROPS)
    extraction_log = ExtractionLog(partial / LOG, partial / CROPS, analysis_schema(analyzer.embedding_size))
    left = [
        replace(one, frames=frames)
        for one in record.chosen
        if (frames := [i for i in one.frames if (one.content, i) not in extraction_log.done])
    ]
    if analyse is not None:
        events = analyse(left, settings, analyzer, partial / CROPS)
    else:
        workers = settings.workers or os.cpu_count() or 1
        events = analyse_media(
            left, analyzer, settings.analyzer, backend=settings.backend, workers=workers, crops=partial / CROPS
        )
    with contextlib.closing(events):
        _record_events(events, extraction_log, record, settings.progress)
    table = extraction_log.table()
    if not table.num_rows:
        raise UserError(_nothing_readable(settings.setting, record.skipped))
    with waiting(f"choosing among the faces of {settings.name}", shown=settings.progress):
        return finalize(table, record, settings.selection, settings.smoothing, settings.people, partial, final)


def _record_events(
    events: Iterable[AnalysedPicture | ReadFailure],
    extraction_log: ExtractionLog,
    record: ExtractionRecord,
    progress: bool,
) -> None:
    pictures = sum(len(chosen.frames) for chosen in record.chosen)
    if extraction_log.done:
        log.info("resuming the extraction: %d of %d pictures are already analysed", len(extraction_log.done), pictures)
    with progress_bar(shown=progress) as bar:
        task = bar.add_task(
            f"faces of {record.description['name']}", total=pictures, completed=len(extraction_log.done)
        )
        try:
            for event in events:
                if isinstance(event, ReadFailure):
                    record.add(event)
                else:
                    extraction_log.add(event.rows)
                    bar.advance(task)
        except KeyboardInterrupt:
            log.warning("interrupted: analysed pictures are saved, the same command continues from there")
            raise
        finally:
            extraction_log.flush()


def _hash_media(found: MediaList, hashes: ContentHashes) -> tuple[list[tuple[Media, str]], dict[str, str]]:
    media: dict[str, Media] = {}
    skipped = {printable(path): reason for path, reason in found.skipped.items()}
    for one in found:
        try:
            content = hashes.sha256(one.path)
        except OSError as error:
            skipped[str(one.path)] = f"cannot be read ({error.strerror})"
            continue
        if content in media:
            skipped[str(one.path)] = f"same content as {media[content].path}"
        else:
            media[content] = one
    hashes.save()
    return [(one, content) for content, one in media.items()], skipped


def _choose_frames(media: Sequence[tuple[Media, str]], settings: ExtractionSettings, record: ExtractionRecord) -> None:
    readable: list[tuple[Media, str]] = []
    lengths: list[int | None] = []
    for one, content in media:
        length = None
        if one.kind == "video":
            try:
                with open_video(one.path, backend=settings.backend) as reader:
                    length = len(reader)
            except UserError as error:
                record.add(ReadFailure(one, str(error), unreadable=True))
                continue
        readable.append((one, content))
        lengths.append(length)
    shares = allocate_frames(lengths, settings.max_frames)
    record.chosen.extend(
        ChosenMedia(one, content, frames) for (one, content), frames in zip(readable, shares, strict=True) if frames
    )


def _nothing_readable(setting: str, skipped: dict[str, str]) -> str:
    path, reason = next(iter(skipped.items()), ("", "no frames"))
    return f"{setting}: none of the {len(skipped)} files could be read, first {path}: {reason}; give other media"
