"""The page's actions as named endpoints, for other programs: see docs/studio.md."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from facesmith.studio import jobs
from facesmith.studio.calls import reported
from facesmith.studio.job_cards import stop_run
from facesmith.studio.people import describe_person, extract_words, newest_set, toggle_face
from facesmith.studio.people_tab import upload_to
from facesmith.studio.project import Project
from facesmith.studio.runs import estimate_left, list_runs, open_run
from facesmith.studio.train_tab import resume_words, start_training
from facesmith.studio.training import TrainingForm, check
from facesmith.studio.words import command_line


def add_endpoints(project: Project) -> None:
    """Add the endpoints; called while the page is built.

    Args:
        project: They work in this folder.
    """
    for name, function in {**_of_people(project), **_of_trainings(project)}.items():
        gr.api(reported(function), api_name=name, concurrency_id="endpoints", concurrency_limit=4)


def _of_people(project: Project) -> dict[str, Callable[..., Any]]:
    def people() -> list[str]:
        """List the people of the project."""
        return project.people()

    def upload(files: list[str], name: str) -> list[str]:
        """Keep pictures of a person, uploaded before, in the project's private folder."""
        return upload_to(project, files, name)

    def extract(name: str, consent: str, source: str = "", note: str = "", until: str = "") -> dict[str, Any]:
        """Find a person's faces; returns the job."""
        words = extract_words(project, name, source, consent, note, until)
        return _describe(jobs.start(project, words, f"faces of {name}", "use"))

    def person(name: str) -> dict[str, Any]:
        """Tell what is known of a person's faces."""
        faces = newest_set(project, name)
        numbers = {crop: number + 1 for number, crop in enumerate(faces.selected_crops)}
        left_out = sorted(numbers[crop] for crop in faces.left_out)
        return {"faces": len(faces), "left_out": left_out, "about": describe_person(project, faces)}

    def toggle(name: str, number: int) -> dict[str, Any]:
        """Leave a face out, or take it back; returns the command that does the same."""
        faces, words = toggle_face(project, name, int(number))
        return {"faces": len(faces), "command": f"facesmith {words}"}

    return {"people": people, "keep_uploads": upload, "extract": extract, "person": person, "toggle_face": toggle}


def _of_trainings(project: Project) -> dict[str, Callable[..., Any]]:
    def train_command(form: dict) -> str:  # type: ignore[type-arg]  # as the endpoint's description shows it
        """Return the command of a training; its fields are those of TrainingForm."""
        return command_line(check(project, TrainingForm(**form)))

    def train(form: dict) -> dict[str, Any]:  # type: ignore[type-arg]
        """Put a training into the queue; returns the job."""
        return _describe(start_training(project, TrainingForm(**form)))

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
        """Continue a run, for so many epochs more; 0: as many as were planned."""
        words = resume_words(project, folder, more_epochs or None)
        return _describe(jobs.start(project, words, f"training of {folder} goes on", "train"))

    def queue() -> list[dict[str, Any]]:
        """List the jobs, the newest first."""
        return [_describe(job) for job in jobs.find_jobs(project)]

    def stop_job(id: str) -> str:
        """Stop a job, or take it from the queue."""
        return jobs.stop(jobs.find_job(project, id))

    named = {"train_command": train_command, "train": train, "runs": runs, "run": run}
    return {**named, "stop_training": stop_training, "resume": resume, "jobs": queue, "stop_job": stop_job}


def _describe(job: jobs.Job) -> dict[str, Any]:
    log = job.read_log()
    return {"id": job.id, "title": job.title, "status": job.status, "command": job.command, "last_line": log.last}


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
