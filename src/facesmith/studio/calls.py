"""Between the page and what it calls: mistakes become one line on the page, shown as text."""

import functools
from collections.abc import Callable
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr

from facesmith.cli.mistakes import explain_error
from facesmith.studio.words import command_line

P = ParamSpec("P")
R = TypeVar("R")

PRIVATE = "private"
"""Visibility of what only the page itself calls; other programs have the named endpoints of `endpoints`."""


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


def shown_command(words: list[str]) -> str:
    """Return a command as the page shows it beside an action."""
    return command_line(words)
