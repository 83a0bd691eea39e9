"""The search space of a sweep: Hydra's override grammar as Optuna distributions, and a point as overrides again."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from facesmith.errors import UserError

Value = str | int | float | bool | None

_DIGITS = 5  # of a sampled number: enough to distinguish points, short enough to read


@dataclass(frozen=True)
class Dimension:
    """One swept key.

    Args:
        key: As in an override, with its `+` and `@package`.
        distribution: What may be drawn.
        values: What a grid tries, in order; None where there are infinitely many.
        texts: How each choice is written in an override.
    """

    key: str
    distribution: BaseDistribution
    values: tuple[Value, ...] | None
    texts: Mapping[Value, str]

    @property
    def name(self) -> str:
        """The key without marks."""
        return self.key.lstrip("+")

    def suggest(self, trial: Trial) -> Value:
        """Return the trial's value, drawn now or before."""
        dist = self.distribution
        if isinstance(dist, CategoricalDistribution):
            choice: Value = trial.suggest_categorical(self.name, dist.choices)
            return choice
        if isinstance(dist, IntDistribution):
            return trial.suggest_int(self.name, dist.low, dist.high, step=dist.step, log=dist.log)
        assert isinstance(dist, FloatDistribution)
        drawn = trial.suggest_float(self.name, dist.low, dist.high, step=dist.step, log=dist.log)
        return min(max(float(f"{drawn:.{_DIGITS}g}"), dist.low), dist.high)

    def to_override(self, value: Value) -> str:
        """Write a value as an override."""
        return f"{self.key}={self.texts.get(value, value)}"

    def first_value(self) -> Value:
        """Return one value, always the same."""
        if self.values is not None:
            return self.values[0]
        low = getattr(self.distribution, "low", None)
        assert isinstance(low, int | float)
        return low

    def other_values(self) -> tuple[Value, ...]:
        """Return the values beside the first one, of an interval its end."""
        return self.values[1:] if self.values is not None else (getattr(self.distribution, "high", None),)


@dataclass(frozen=True)
class Space:
    """Overrides common to all jobs, and swept parameters.

    Args:
        order: All keys, in the order in which they were given.
        fixed: The whole overrides of those that are not swept.
        dimensions: Those that are.
    """

    order: tuple[str, ...]
    fixed: Mapping[str, str]
    dimensions: tuple[Dimension, ...]

    def to_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return a job's overrides.

        Args:
            point: A value for each dimension's name.
        """
        swept = {one.key: one.to_override(point[one.name]) for one in self.dimensions}
        return [swept[key] if key in swept else self.fixed[key] for key in self.order]

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Return a trial's point."""
        return {one.name: one.suggest(trial) for one in self.dimensions}

    def first_point(self) -> dict[str, Value]:
        """Return one point, always the same."""
        return {one.name: one.first_value() for one in self.dimensions}

    def neighbours(self) -> Iterator[dict[str, Value]]:
        """Yield the points that differ from the first one in one key."""
        first = self.first_point()
        for one in self.dimensions:
            for value in one.other_values():
                yield first | {one.name: value}

    def grid(self) -> Iterator[dict[str, Value]]:
        """Return every combination, the last key changing fastest, as Hydra does.

        Raises:
            UserError: A key has infinitely many values.
        """
        for one in self.dimensions:
            if one.values is None:
                raise UserError(
                    f"{one.name}: a grid needs values, such as {one.name}=1,2 or range(1,4); "
                    "hydra/sweeper=tpe or random takes intervals"
                )
        names = [one.name for one in self.dimensions]
        for values in itertools.product(*(one.values or () for one in self.dimensions)):
            yield dict(zip(names, values, strict=True))


def parse_space(overrides: Sequence[Override]) -> Space:
    """Sort overrides into fixed and swept; of two with one key the later counts.

    Args:
        overrides: Of the sweep's file and of the command line, parsed.

    Raises:
        UserError: A range or tag that no sampler takes.
    """
    last = {override.get_key_element(): override for override in overrides}
    fixed, dimensions = {}, []
    for key, override in last.items():
        if override.is_sweep_override():
            dimensions.append(_dimension(key, override))
        else:
            fixed[key] = override.input_line or key
    return Space(tuple(last), fixed, tuple(dimensions))


def _dimension(key: str, override: Override) -> Dimension:
    sweep: Any = override.value()
    tags = set(getattr(sweep, "tags", ()))
    if tags - {"log"}:
        raise UserError(
            f"{override.input_line}: tag {', '.join(sorted(tags - {'log'}))} is unknown; the only tag is log"
        )
    log = "log" in tags
    try:
        if isinstance(sweep, RangeSweep):
            values = tuple(sweep.range()) if sweep.step else ()
            if not values:
                raise UserError(f"{override.input_line}: holds no number; write range(first, after the last, step)")
            dist = _numbers(min(values), max(values), None if log else sweep.step, log)
            if sweep.shuffle:
                values = tuple(override.sweep_iterator())
            return Dimension(key, dist, values, {})
        if isinstance(sweep, IntervalSweep):
            assert sweep.start is not None
            assert sweep.end is not None
            if not sweep.start <= sweep.end:
                raise UserError(f"{override.input_line}: ends before it begins")
            return Dimension(key, _numbers(sweep.start, sweep.end, None, log), None, {})
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from None
    if log:
        raise UserError(f"{override.input_line}: choices have no scale; log needs interval or range")
    elements = list(override.sweep_iterator())
    if not elements:
        raise UserError(f"{override.input_line}: matches nothing")
    assert isinstance(sweep, ChoiceSweep) or override.is_choice_sweep()
    texts = {_plain(element): Override._get_value_element_as_str(element) for element in elements}
    return Dimension(key, CategoricalDistribution(list(texts)), tuple(texts), texts)


def _numbers(low: float, high: float, step: float | None, log: bool) -> BaseDistribution:
    whole = isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int))
    if whole:
        return IntDistribution(int(low), int(high), log=log, step=abs(int(step)) if step else 1)
    return FloatDistribution(float(low), float(high), log=log, step=abs(float(step)) if step else None)


def _plain(element: Any) -> Value:
    """Return a value Optuna can store: lists and dicts as they are written."""
    if isinstance(element, QuotedString):
        return element.text
    if element is None or isinstance(element, str | int | float | bool):
        return element
    return Override._get_value_element_as_str(element)
