"""The page's actions as named endpoints, for other programs: see docs/studio.md."""

from collections.abc import Callable
from typing import Any

from gradio.events import api

from facesmith.studio import jobs
from facesmith.studio.calls import reported
from facesmith.studio.comparing import draw_comparison, draw_ranking
from facesmith.studio.dances import dance_words
from facesmith.studio.job_cards import describe_job, stop_run
from facesmith.studio.masks_tab import MasksTab
from facesmith.studio.people import describe_person, extract_words, newest_set, toggle_face
from facesmith.studio.people_tab import upload_to
from facesmith.studio.preview import LIMIT, draw_encoded
from facesmith.studio.profiles import blend_words, interpolate_words, list_traces
from facesmith.studio.profiles_part import delete_person
from facesmith.studio.project import Project
from facesmith.studio.runs import estimate_left, list_runs, open_run
from facesmith.studio.swap_request import read_request
from facesmith.studio.swapping import describe_mark, describe_swap, render_words
from facesmith.studio.train_tab import resume_words, start_training
from facesmith.studio.training import TrainingForm, check
from facesmith.studio.words import command_line
from facesmith.studio.worker import Worker


def add_endpoints(project: Project, worker: Worker, masks: MasksTab) -> None:
    """Add the endpoints; called while the page is built.

    Args:
        project: They work in this folder.
        worker: Draws one frame of a swap.
        masks: The painter's tab.
    """
    named = {**_of_people(project), **_of_trainings(project), **_of_swaps(project, worker)}
    for name, function in {**named, **_of_results(project, masks)}.items():
        api(reported(function), api_name=name, concurrency_id="endpoints", concurrency_limit=4)


def _of_people(project: Project) -> dict[str, Callable[..., Any]]:
    def people() -> list[str]:
        """List the people of the project."""
        return project.people()

    def upload(files: list[Any], name: str) -> list[str]:
        """Keep pictures of a person in the project's private folder.

        Args:
            files: What the upload answered, or what `gradio_client.handle_file` gives.
            name: Of the person: lower-case letters, digits, - and _; empty: targets of swaps.

        Returns:
            Their paths, below the project.
        """
        return upload_to(project, files, name)

    def extract(name: str, consent: str, source: str = "", note: str = "", until: str = "") -> dict[str, Any]:
        """Find a person's faces.

        Args:
            name: Of the person: lower-case letters, digits, - and _.
            consent: self, written, licensed, public_domain or synthetic.
            source: File or folder of the project; empty: what was uploaded for this name.
            note: Who agreed to what, when.
            until: Date (2027-12-31) after which the consent no longer holds.

        Returns:
            The job.
        """
        words = extract_words(project, name, source, consent, note, until)
        return describe_job(jobs.start(project, words, f"faces of {name}", "use"))

    def person(name: str) -> dict[str, Any]:
        """Tell what is known of a person's faces."""
        faces = newest_set(project, name)
        numbers = {crop: number + 1 for number, crop in enumerate(faces.selected_crops)}
        left_out = sorted(numbers[crop] for crop in faces.left_out)
        return {"faces": len(faces), "left_out": left_out, "about": describe_person(project, faces)}

    def toggle(name: str, number: int) -> dict[str, Any]:
        """Leave a face out, or take it back.

        Args:
            name: Of the person.
            number: Of the face, from 1, as the contact sheet shows it.

        Returns:
            How many faces there are, and the command that does the same.
        """
        faces, words = toggle_face(project, name, int(number))
        return {"faces": len(faces), "command": f"facesmith {words}"}

    return {"people": people, "keep_uploads": upload, "extract": extract, "person": person, "toggle_face": toggle}


def _of_trainings(project: Project) -> dict[str, Callable[..., Any]]:
    def train_command(form: dict) -> str:  # type: ignore[type-arg]  # as the endpoint's description shows it
        """Return the command of a training; its fields are those of TrainingForm."""
        return command_line(check(project, TrainingForm(**form)))

    def train(form: dict) -> dict[str, Any]:  # type: ignore[type-arg]
        """Put a training into the queue; returns the job."""
        return describe_job(start_training(project, TrainingForm(**form)))

    def runs() -> list[dict[str, Any]]:
        """List the runs, the newest first."""
        return [_describe_run(project, project.short(run.folder)) for run in list_runs(project)]

    def run(folder: str) -> dict[str, Any]:
        """Tell how a run is."""
        return _describe_run(project, folder)

    def stop_training(folder: str) -> str:
        """Ask a run to save and stop."""
        return stop_run(open_run(project, folder))

    def resume(folder: str, more_epochs: int = 0) -> dict[str, Any]:
        """Continue a run.

        Args:
            folder: Of the run, below the project.
            more_epochs: Beyond those that were planned; 0: none.

        Returns:
            The job.
        """
        words = resume_words(project, folder, more_epochs or None)
        return describe_job(jobs.start(project, words, f"training of {folder} goes on", "train"))

    def queue() -> list[dict[str, Any]]:
        """List the jobs, the newest first."""
        return [describe_job(job) for job in jobs.find_jobs(project)]

    def stop_job(id: str) -> str:
        """Stop a job, or take it from the queue."""
        return jobs.stop(jobs.find_job(project, id))

    named: dict[str, Callable[..., Any]] = {"train_command": train_command, "train": train, "runs": runs, "run": run}
    return {**named, "stop_training": stop_training, "resume": resume, "jobs": queue, "stop_job": stop_job}


def _of_swaps(project: Project, worker: Worker) -> dict[str, Callable[..., Any]]:
    def models() -> list[str]:
        """List the models that swap faces."""
        return [project.short(path) for path in project.models()]

    def preview(fields: dict) -> dict[str, Any]:  # type: ignore[type-arg]
        """Draw one frame; its fields are those of SwapRequest. Returns pictures as PNG in base64."""
        return worker.call(LIMIT, draw_encoded, read_request(project, fields))

    def swap(
        fields: dict,  # type: ignore[type-arg]
        output: str = "",
        side_by_side: bool = False,
        resume: bool = False,
        preview: int = 0,
    ) -> dict[str, Any]:
        """Render a swap, or a sheet of some frames of it.

        Args:
            fields: Those of SwapRequest.
            output: File to write, below the project; empty: named after target and model.
            side_by_side: Whether the target is shown on the left.
            resume: Whether what a stopped swap left is used.
            preview: Frames of the sheet; 0: the whole swap.

        Returns:
            The job.
        """
        request = read_request(project, fields)
        words = render_words(project, request, output, side_by_side=side_by_side, resume=resume, preview=int(preview))
        return describe_job(jobs.start(project, words, describe_swap(words), "use"))

    def verify(file: str) -> str:
        """Tell what a file states of where it is from."""
        return describe_mark(project, file)

    return {"models": models, "preview": preview, "swap": swap, "verify": verify}


def _of_results(project: Project, masks: MasksTab) -> dict[str, Callable[..., Any]]:
    def blend(profiles: list[str], name: str, weights: str = "") -> dict[str, Any]:
        """Blend profiles.

        Args:
            profiles: Names of people, two or more.
            name: Of the new identity.
            weights: One number for each, with spaces between; empty: equal ones.

        Returns:
            The job.
        """
        return describe_job(jobs.start(project, blend_words(project, profiles, weights, name), f"blend {name}", "use"))

    def interpolate(first: str, second: str, t: float, name: str) -> dict[str, Any]:
        """Interpolate between two profiles.

        Args:
            first: Name of a person.
            second: Name of another.
            t: 0: the first, 1: the second.
            name: Of the new identity.

        Returns:
            The job.
        """
        words = interpolate_words(project, [first, second], t, name)
        return describe_job(jobs.start(project, words, f"interpolation {name}", "use"))

    def traces(name: str) -> str:
        """List what a deletion of a person would remove."""
        return list_traces(project, name)

    def delete(name: str, again: str) -> dict[str, Any]:
        """Remove everything of a person, whose name is given twice; returns the job."""
        return delete_person(project, name, again)[0]

    def dance(fields: dict) -> dict[str, Any]:  # type: ignore[type-arg]
        """Generate dances; its fields are those of the tab. Returns the job."""
        return describe_job(jobs.start(project, dance_words(project, fields), "dances", "train"))

    def compare(folders: list[str]) -> dict[str, str]:
        """Draw curves, pictures and differences of runs, as markup."""
        return dict(zip(("curves", "pictures", "differences"), draw_comparison(project, folders), strict=True))

    def leaderboard(folder: str) -> str:
        """Draw the ranking of the runs below a folder, as markup."""
        return draw_ranking(project, folder)

    def open_masks(faces: str, occluder: str = "") -> str:
        """Open the masks of a face set in the painter.

        Args:
            faces: Folder of the face set, below the project.
            occluder: Whose predictions painting starts from; empty: the landmarks' outline.

        Returns:
            The folder.
        """
        masks.open(faces, occluder)
        return faces

    named: dict[str, Callable[..., Any]] = {
        "blend": blend,
        "interpolate": interpolate,
        "traces": traces,
        "delete_person": delete,
        "dance": dance,
    }
    return {**named, "compare": compare, "leaderboard": leaderboard, "open_masks": open_masks}


def _describe_run(project: Project, folder: str) -> dict[str, Any]:
    run = open_run(project, folder)
    record = run.record
    return {
        "folder": project.short(run.folder),
        "status": run.status,
        "epochs": run.epochs,
        "planned_epochs": run.planned_epochs,
        "seconds": run.seconds,
        "seconds_left": estimate_left(run),
        "figures": record.metrics.last if record is not None else {},
        "error": run.error,
    }
