"""From media to a face set on disk: once per content and settings, shared, resumable, never half-written."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.analysis import AnalysedPicture, Backend, ChosenMedia, ReadFailure, analyse_media
from facesmith.faces.face_set.content_key import ContentHashes, compute_face_set_key
from facesmith.faces.face_set.face_set import CROPS, SCHEMA_VERSION, FaceSet, analysis_schema
from facesmith.faces.face_set.finalize import ExtractionRecord, finalize, update_consent
from facesmith.faces.face_set.selection import Selection
from facesmith.faces.face_set.staging import ExtractionLog, remove_stale
from facesmith.faces.tracking.smoothing import Smoothing
from facesmith.files import hold_lock, make_private_folder, partial_folder
from facesmith.media.sampling import allocate_frames
from facesmith.media.sources import Media, MediaList, find_media
from facesmith.media.video import open_video

log = logging.getLogger(__name__)


def extract(
    source: str | Path | Sequence[str | Path],
    *,
    name: str,
    consent: str,
    consent_note: str,
    expires: str | None = None,
    root: Path,
    analyzer: Callable[[], Analyzer],
    backend: Backend,
    max_frames: int,
    people: Literal["one", "many"],
    selection: Selection,
    smoothing: Smoothing,
    workers: int | None = None,
    progress: bool = True,
    setting: str = "data.source",
) -> FaceSet:
    """Return the face set of the media, analysing only what no earlier call with the same key has.

    source: files, folders or globs of images and videos. name: slug; everything of it lies under root/name,
    the set under the first 12 digits of its key, readable by its owner only. expires: ISO date after which
    the consent no longer holds, travels with the set. analyzer: makes one analyzer a worker. max_frames: how
    many pictures are analysed, evenly spread. people: "one" keeps the identity that most pictures show,
    "many" every face within the selection's limits. workers: analysis threads, by default one a core.
    setting: the key that named the source, for messages. One call at a time works on a set; others wait for
    it and use its result. An interrupted call is continued by the next one. One bad file among good ones is
    skipped and noted in the set's meta.

    Raises UserError when nothing can be read or no usable face is found; the message counts the reasons.
    """
    folder = root / name
    make_private_folder(folder)
    media, skipped = _hashed(find_media(source), ContentHashes(folder / "contents.json"))
    if not media:
        raise UserError(_nothing_readable(setting, skipped))
    with contextlib.closing(analyzer()) as first:
        settings = {
            "backend": backend,
            "max_frames": max_frames,
            "people": people,
            "selection": dataclasses.asdict(selection),
            "smoothing": dataclasses.asdict(smoothing),
        }
        contents = [content for _, content in media]
        key = compute_face_set_key(contents, first.fingerprint, settings, SCHEMA_VERSION)
        final = folder / key[:12]
        with hold_lock(final):
            if final.is_dir():
                update_consent(final, consent, consent_note, expires)
                log.info("face set %s is there already: nothing is analysed again", final)
                return FaceSet(final)
            remove_stale(folder, keep=final)
            record = ExtractionRecord(
                described={
                    "key": key,
                    "name": name,
                    "consent": consent,
                    "consent_note": consent_note,
                    "expires": expires,
                    "embedder": first.embedder,
                    "embedding_size": first.embedding_size,
                    "analyzer": first.fingerprint,
                    "settings": settings,
                },
                setting=setting,
                chosen=[],
                skipped=skipped,
            )
            _choose(media, backend, max_frames, record)
            partial = partial_folder(final)
            make_private_folder(partial)
            make_private_folder(partial / CROPS)
            journal = ExtractionLog(partial / "journal", partial / CROPS, analysis_schema(first.embedding_size))
            events = analyse_media(
                record.chosen,
                journal.done,
                first,
                analyzer,
                backend=backend,
                workers=workers or os.cpu_count() or 1,
                crops=partial / CROPS,
            )
            with contextlib.closing(events):
                _follow(events, journal, record, progress)
            table = journal.table()
            if not table.num_rows:
                raise UserError(_nothing_readable(setting, record.skipped))
            return finalize(table, record, selection, smoothing, people, partial, final)


def _follow(
    events: Iterable[AnalysedPicture | ReadFailure], journal: ExtractionLog, record: ExtractionRecord, progress: bool
) -> None:
    pictures = sum(len(chosen.frames) for chosen in record.chosen)
    if journal.done:
        log.info("going on where it stopped: %d of %d pictures are analysed", len(journal.done), pictures)
    with _progress_bar(progress) as bar:
        task = bar.add_task(f"faces of {record.described['name']}", total=pictures, completed=len(journal.done))
        try:
            for event in events:
                if isinstance(event, ReadFailure):
                    record.add(event)
                else:
                    journal.add(event.rows)
                    bar.advance(task)
        except KeyboardInterrupt:
            log.warning("interrupted: what is analysed is kept, the same command goes on from there")
            raise
        finally:
            journal.flush()


def _hashed(found: MediaList, hashes: ContentHashes) -> tuple[list[tuple[Media, str]], dict[str, str]]:
    media: dict[str, Media] = {}
    skipped = {str(path): "neither image nor video" for path in found.skipped}
    for one in found:
        try:
            content = hashes.of(one.path)
        except OSError as error:
            skipped[str(one.path)] = f"cannot be read ({error.strerror})"
            continue
        if content in media:
            skipped[str(one.path)] = f"same content as {media[content].path}"
        else:
            media[content] = one
    hashes.save()
    return [(one, content) for content, one in media.items()], skipped


def _choose(media: Sequence[tuple[Media, str]], backend: Backend, max_frames: int, record: ExtractionRecord) -> None:
    readable: list[tuple[Media, str]] = []
    lengths: list[int | None] = []
    for one, content in media:
        length = None
        if one.kind == "video":
            try:
                with open_video(one.path, backend=backend) as reader:
                    length = len(reader)
            except UserError as error:
                record.add(ReadFailure(one, str(error), unreadable=True))
                continue
        readable.append((one, content))
        lengths.append(length)
    shares = allocate_frames(lengths, max_frames)
    record.chosen.extend(
        ChosenMedia(one, content, frames) for (one, content), frames in zip(readable, shares, strict=True) if frames
    )


def _progress_bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        disable=not shown,
    )


def _nothing_readable(setting: str, skipped: dict[str, str]) -> str:
    path, reason = next(iter(skipped.items()), ("", "no frames"))
    return f"{setting}: none of the {len(skipped)} files could be read, first {path}: {reason}; give other media"
