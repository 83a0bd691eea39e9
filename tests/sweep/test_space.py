"""Hydra's override grammar becomes what Optuna draws from, and overrides again."""

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from facesmith.errors import UserError
from facesmith.sweep.space import Space, parse_space


def parsed(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("lr=1e-3,2e-3", CategoricalDistribution([1e-3, 2e-3])),
        ("lr=a,b,null,true", CategoricalDistribution(["a", "b", None, True])),
        ("size=range(2,10,3)", IntDistribution(2, 8, step=3)),
        ("size=range(4)", IntDistribution(0, 3)),
        ("size=range(10,2,-3)", IntDistribution(4, 10, step=3)),
        ("share=range(0.0,1.0,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("lr=interval(1e-4,1e-2)", FloatDistribution(1e-4, 1e-2)),
        ("lr=tag(log, interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("rank=int(interval(4,128))", IntDistribution(4, 128)),
        ("rank=tag(log, int(interval(4,128)))", IntDistribution(4, 128, log=True)),
        ("+extra.lr=interval(0,1)", FloatDistribution(0.0, 1.0)),
        ("shapes=[1,2],[3,4]", CategoricalDistribution(["[1,2]", "[3,4]"])),
    ],
)
def test_parse_space_each_override_form(override: str, distribution: object) -> None:
    (dimension,) = parsed(override).dimensions
    assert dimension.distribution == distribution


def test_space_grid_is_hydras_product() -> None:
    found = parsed("experiment=identity", "lr=1,2", "name='a b','c'", "~callbacks.render", "size=range(2)")
    written = [found.to_overrides(point) for point in found.grid()]
    assert len(written) == 8
    assert written[1] == ["experiment=identity", "lr=1", "name='a b'", "~callbacks.render", "size=1"]
    assert written[2][2] == "name='c'"


def test_parse_space_later_override_wins() -> None:
    found = parsed("lr=1,2", "seed=3", "lr=5")
    assert (found.dimensions, list(found.grid())) == ((), [{}])
    assert found.to_overrides({}) == ["lr=5", "seed=3"]


def test_space_suggested_numbers_are_short_and_inside() -> None:
    found = parsed("lr=tag(log, interval(0.000123456789,0.000123456799))", "+b=interval(0.1,0.9)")
    trial = optuna.create_study().ask()
    point = found.suggest(trial)
    assert point["lr"] == 0.000123456799  # rounding leads out of the interval
    assert len(str(point["b"])) <= 7
    assert found.to_overrides(point)[1] == f"+b={point['b']}"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lr=tag(fast, interval(0,1))", "tag fast is unknown"),
        ("lr=tag(log, interval(0,1))", "lr=tag"),
        ("lr=tag(log, choice(1,2))", "choices have no scale"),
        ("lr=range(4,4)", "lr=range"),
    ],
)
def test_parse_space_unknown_form_is_refused(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        parsed(override)


def test_space_grid_of_interval_is_refused() -> None:
    with pytest.raises(UserError, match="lr: a grid needs values"):
        list(parsed("lr=interval(0,1)").grid())
