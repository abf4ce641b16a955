"""However Ray fails to start, the user gets a sentence."""

from __future__ import annotations

import pytest
import ray

from sweeper.errors import UserError
from sweeper.running.tune.session import ray_session


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nThis could happen"),  # Ray's own
        RuntimeError("The current node timed out during startup."),
        OSError(28, "The current node timed out during startup."),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("address", [None, "127.0.0.1:1"])
def test_a_failed_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test may have started it
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr("sweeper.running.tune.session._probe", lambda _: None)
    restored = []
    with (
        pytest.raises(UserError, match=r"The current node timed out during startup\.") as raised,
        ray_session(address, lambda: restored.append(1)),
    ):
        pass
    assert "\n" not in str(raised.value)
    assert ("`sweeper doctor`" if address is None else "127.0.0.1:1") in str(raised.value)
    assert restored == [1]
