from __future__ import annotations

import pickle

import pytest

from sweeper.environments.settings import EnvironmentBuildError
from sweeper.errors import Location, Problem, SpecError, SweeperError, UserError


@pytest.mark.parametrize(
    "error",
    [
        UserError("wrong"),
        EnvironmentBuildError(("wrappers", 0), "no such wrapper"),
        SpecError([Problem(Location("a.yaml", 3), "seeds", "must be more")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: SweeperError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
