"""The form of a training: few fields, what they take and mean, and all other keys folded away."""

from dataclasses import dataclass, fields
from html import escape
from typing import Any, Final

import gradio as gr

from facesmith.cli.help import field_docs
from facesmith.config.consent import CONSENT_KINDS
from facesmith.config.schema import TrainerConfig
from facesmith.errors import UserError
from facesmith.studio.calls import QUIET, reported
from facesmith.studio.training import TYPES, TrainingForm, defaults_of, keys_of, options

FIELDS: Final = tuple(field.name for field in fields(TrainingForm))
_PLACES: Final = {
    "identity": ("photos and videos of the person", "Scenes", "to learn besides; not needed"),
    "swap_lora": ("of the person; empty: the swapper's", "Scene", "a video or photos to fit the swapper to"),
    "occluder": ("photos and videos of faces", "", ""),
    "video_lora": ("photos of the face", "Dances", "a folder: dance_001.mp4, dance_001.txt"),
}


@dataclass(frozen=True)
class Form:
    """The components by the name of their field, and rows that some types lack."""

    by_name: dict[str, Any]
    of_identity: Any
    of_adapter: Any
    key: Any

    @property
    def all(self) -> list[Any]:
        """Return the components in the order of `TrainingForm`."""
        return [self.by_name[name] for name in FIELDS]

    @property
    def varied(self) -> list[Any]:
        """Return what `vary` changes."""
        named = self.by_name
        return [
            *(self.of_identity, self.of_adapter, self.key),
            *(named[name] for name in ("source", "target", "masks", "epochs", "batch", "rank")),
        ]


def build_form(people: list[str]) -> Form:
    """Add the components of the form.

    Args:
        people: Names to choose from.
    """
    one: dict[str, Any] = {}
    types = [(text, name) for name, text in TYPES.items()]
    one["type"] = gr.Radio(types, value="identity", label="What is trained", elem_id="train_type")
    with gr.Row():
        one["name"] = gr.Dropdown(
            people,
            value=people[0] if people else "",
            allow_custom_value=True,
            label="Name",
            info="lower-case letters, digits, - and _",
            elem_id="train_name",
        )
        one["source"] = _text("Pictures", _PLACES["identity"][0], elem_id="train_source")
    with gr.Row():
        kinds = ["", *CONSENT_KINDS]
        one["consent"] = gr.Dropdown(kinds, value="", label="Consent", info="by what right", elem_id="train_consent")
        one["note"] = _text("Note", "who agreed to what, when")
        one["until"] = _text("Until", "last day; empty: no end")
    with gr.Row():
        one["epochs"] = _number(
            "Epochs", "identity", field_docs(TrainerConfig)["max_epochs"].partition(";")[0], least=0
        )
        one["batch"] = _number("Batch", "identity", "pairs or clips of a step")
        presets = options("trainer")
        one["hardware"] = gr.Dropdown(presets, value="default", label="Hardware", info="trainer=: batches that fit")
    with gr.Row() as of_identity:
        nets = options("model/generator")
        info = "mesh_warp is ready before training; aad_fast and aad_full learn a face"
        one["generator"] = gr.Dropdown(nets, value="mesh_warp", label="Generator", info=info)
    with gr.Row(visible=False) as of_adapter:
        one["base"] = _text(
            "Base", "a swapper's run, checkpoint or .onnx; of a video LoRA: Wan-VACE", elem_id="train_base"
        )
        one["rank"] = _number("Rank", "swap_lora", "inner size of the adapter's matrices")
    one["target"] = _text(*_PLACES["identity"][1:], elem_id="train_target")
    one["masks"] = gr.Textbox(label="Painted masks", info="the painter's folder; empty: masks are made", visible=False)
    with gr.Accordion("All other keys", open=False, elem_id="train_keys") as others:
        key = gr.Dropdown([], value=None, label="Key", info="type to search", elem_id="train_key")
        meaning = gr.HTML(elem_classes="meaning")
        with gr.Row(elem_classes="actions"):
            value = gr.Textbox(label="Value", scale=3)
            put = gr.Button("Set", size="sm", scale=1)
        one["more"] = gr.Textbox(label="Set so far", info="key=value, one a line", lines=3, elem_id="train_more")
    others.expand(_list_keys, [one["type"]], [key], **QUIET)
    key.change(_explain, [one["type"], key], [meaning, value], **QUIET)
    put.click(reported(_put), [key, value, one["more"]], [one["more"]], **QUIET)
    return Form(one, of_identity, of_adapter, key)


def _list_keys(kind: str) -> Any:
    """Return the list of all keys; reading them takes seconds, so it waits until it is folded out."""
    return gr.Dropdown(sorted(keys_of(kind)))


def vary(kind: str) -> list[Any]:
    """Return how the form changes for a type.

    Args:
        kind: A key of `TYPES`.
    """
    source, target, info = _PLACES.get(kind, ("", "", ""))
    epochs, batch, rank = defaults_of(kind)
    return [
        gr.Row(visible=kind == "identity"),
        gr.Row(visible=kind in ("swap_lora", "video_lora")),
        gr.Dropdown(sorted(keys_of(kind)) if keys_of.cache_info().currsize else [], value=None),
        gr.Textbox(info=source),
        gr.Textbox(label=target, info=info, visible=bool(target)),
        gr.Textbox(visible=kind == "occluder"),
        *(gr.Number(value=number) for number in (epochs, batch, rank)),
    ]


def read_form(values: tuple[Any, ...]) -> TrainingForm:
    """Return what the components hold.

    Args:
        values: In the order of `TrainingForm`.
    """
    numbers = ("epochs", "batch", "rank")
    held: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
    held.update({name: value or "" for name, value in held.items() if name not in numbers})
    return TrainingForm(**held)


def _text(label: str, info: str, **more: Any) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, **more)


def _number(label: str, kind: str, info: str, least: int = 1) -> gr.Number:
    epochs, batch, rank = defaults_of(kind)
    value = {"Epochs": epochs, "Batch": batch, "Rank": rank}[label]
    return gr.Number(value, label=label, info=info, minimum=least, precision=0, elem_id=f"train_{label.lower()}")


def _explain(kind: str, name: str | None) -> tuple[str, str]:
    key = keys_of(kind).get(name or "")
    if key is None:
        return "", ""
    text = f"<b>{escape(key.name)}</b> {escape(key.takes)}<br>{escape(key.meaning)}"
    return text, "" if key.value.startswith("$") or key.value == "to be given" else key.value


def _put(name: str | None, value: str, so_far: str) -> str:
    if not name:
        raise UserError("key: choose one")
    kept = [line for line in (so_far or "").splitlines() if line.strip() and line.partition("=")[0].strip() != name]
    return "\n".join([*kept, f"{name}={value}"])
