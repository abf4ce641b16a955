"""Why the champion of a run is not confirmed, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.evidence.confirmation import choose_finalists, holds_for, is_current
from sweeper.evidence.failed_runs import explain_failed
from sweeper.evidence.samples import Evidence
from sweeper.hints import join_words
from sweeper.metrics import Objective, examined_metric
from sweeper.results.records import SweepResults

__all__ = ["UNCONFIRMED", "explain_incomplete", "explain_unconfirmed"]

_LIKELY = "the best of several noisy scores is likely too high"
_ALONE = "Unconfirmed: one trial leaves nothing to choose; other seeds may come to something else."
UNCONFIRMED = f"Unconfirmed: {_LIKELY}; training it again on fresh seeds would tell."


def explain_incomplete(missing: Sequence[str], finalists: Sequence[Evidence]) -> str:
    """Why a confirmation of trials that the search did not put first has no champion.

    Args:
        missing: what it lacks, in words.
        finalists: all of them failed if it lacks nothing.
    """
    if not missing:
        return f"Unconfirmed: {explain_failed(finalists)}; {_LIKELY}."
    return (
        "Unconfirmed: the confirmation is not complete; it lacks "
        f"{join_words(missing, 'and')}. Until then {_LIKELY}."
    )


def explain_unconfirmed(results: SweepResults, objective: Objective, *, finalists: int) -> str:
    """The reason and the remedy in a sentence, for a run that has no confirmation to judge.

    Args:
        results: of a run, or of any Tune experiment.
        objective: by which the champion is chosen.
        finalists: how many the spec asks for.
    """
    if results.confirmation is not None and not holds_for(results.confirmation, objective):
        return (
            "Unconfirmed: the run's confirmation was made for its own metric, "
            f"{results.confirmation.objective['metric']}; {_LIKELY}."
        )
    if results.confirmation is not None and not is_current(results):
        return (
            "Unconfirmed: the search has gone on since its finalists were trained again; the "
            f"confirmation follows once it is over. {_LIKELY[0].upper()}{_LIKELY[1:]}."
        )
    if not finalists and len(results.trials) == 1 and not results.is_live:
        return _ALONE
    if not finalists or examined_metric(objective.metric) is None:
        return UNCONFIRMED
    if results.is_live or choose_finalists(results, objective, 1):
        return f"Unconfirmed: the confirmation is still to come; until then {_LIKELY}."
    return (
        "Unconfirmed: no trial ran to its own end, so there was none to train again in the same "
        f"way; {_LIKELY}."
    )
