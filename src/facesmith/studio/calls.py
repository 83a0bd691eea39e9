"""Between the page and what it calls: mistakes become one line on the page, shown as text."""

import functools
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final, ParamSpec, TypeVar

import gradio as gr

from facesmith.cli.mistakes import explain_error
from facesmith.errors import UserError
from facesmith.studio.words import command_line

P = ParamSpec("P")
R = TypeVar("R")

PRIVATE = "private"
"""Visibility of what only the page itself calls; other programs have the named endpoints of `endpoints`."""
QUIET: Final[dict[str, Any]] = {"api_visibility": PRIVATE, "show_progress": "hidden"}
"""The same, of calls that draw no veil over what they change."""


def reported(function: Callable[P, R]) -> Callable[P, R]:
    """Report a user's mistake as a line on the page; anything else is a bug and goes to the terminal.

    Args:
        function: What a button does.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            lines = explain_error(error)
            if lines is None:
                raise
            raise gr.Error(escape("; ".join(lines)), title="", print_exception=False) from None

    return call


def command_of(make: Callable[[], list[str]]) -> str:
    """Return a command line as the page shows it beside an action; what is still missing as a comment.

    Args:
        make: Makes its words.
    """
    try:
        return command_line(make())
    except UserError as error:
        return f"# {str(error).splitlines()[0]}"


def command_box(label: str = "The command", **given: Any) -> gr.Textbox:
    """Add a box that shows a command line.

    Args:
        label: Above it.
        given: Further arguments of the component.
    """
    return gr.Textbox(label=label, interactive=False, buttons=["copy"], **given)


def listed(choices: Sequence[Any], chosen: str | None, first: str | None) -> gr.Dropdown:
    """Return a list as it is now; what is chosen is left alone, for it may have been chosen anew in the meantime.

    Args:
        choices: What there is to choose from.
        chosen: What was chosen when the list was asked for.
        first: What is chosen where that is nothing.
    """
    return gr.Dropdown(choices) if chosen else gr.Dropdown(choices, value=first)


def refresh_button(tab: str) -> gr.Button:
    """Add the hidden button that page.js presses when something has changed.

    Args:
        tab: Its id.
    """
    return gr.Button("refresh", elem_id=f"refresh-{tab}", elem_classes="hidden-button")
