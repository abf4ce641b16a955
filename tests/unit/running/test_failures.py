from __future__ import annotations

import pytest

from sweeper.running.failures import Failure, Retries, Retry, describe_failure
from sweeper.states import FailureReason

CRASH = Failure(FailureReason.CRASHED, "RuntimeError: the simulator broke", 7)


def text(*failures: str) -> str:
    return "".join(
        f"Failure # {number} (occurred at 2026-11-24_10-00-00)\n{failure}\n"
        for number, failure in enumerate(failures, start=1)
    )


def test_a_failure_is_named_by_its_last_line_and_its_kind() -> None:
    crashed = describe_failure(text("Traceback ...\n  File x\nTrialFailedError: OSError: gone"), 3)
    assert crashed == Failure(FailureReason.CRASHED, "TrialFailedError: OSError: gone", 3)
    assert describe_failure(text("ray.exceptions.ActorDiedError: x")).reason == "the worker died"
    assert describe_failure(text("MemoryError")).reason == "out of memory"
    assert describe_failure(text("TrialDivergedError: 2 of 2")).reason == "diverged"
    full = "TrialFailedError: OSError: [Errno 28] Error writing bytes to file. Detail: [errno 28] "
    assert describe_failure(text(f"{full}No space left on device")).reason == "no space left"
    assert describe_failure("").error == "no error text was left"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("The actor died unexpectedly before finishing this task.", "the worker died"),
        (
            "The actor is dead because its worker process has died. Worker exit type: X.",
            "the worker died",
        ),
        ("The actor never ran - it was cancelled before it started running.", "the worker died"),
        ("The actor abc is unavailable: connection reset. The task may", "the worker died"),
        (
            "The actor is dead because its worker process has died. Task was killed due to the "
            "node running low on memory.",
            "out of memory",
        ),
    ],
)
def test_rays_own_errors_are_told_by_the_words_that_tune_writes(error: str, reason: str) -> None:
    assert describe_failure(text(error)).reason == reason


def test_only_the_newest_failure_counts() -> None:
    both = text("ray.exceptions.ActorDiedError: killed", "TrialFailedError: ValueError: bad")
    assert describe_failure(both) == Failure(
        FailureReason.CRASHED, "TrialFailedError: ValueError: bad"
    )


def test_a_failed_trial_is_tried_again_as_often_as_allowed_with_growing_delays() -> None:
    retries = Retries(3)
    errors = [Failure(FailureReason.CRASHED, f"error {n}", n) for n in range(4)]
    assert [retries.decide("t1", error) for error in errors] == [
        Retry(1.0),
        Retry(2.0),
        Retry(4.0),
        None,
    ]
    assert retries.decide("t2", errors[0]) == Retry(1.0)


def test_delays_stay_within_a_minute() -> None:
    retries = Retries(100)
    delays = [retries.decide("t1", Failure(FailureReason.CRASHED, str(n))) for n in range(20)]
    assert max(retry.delay_s for retry in delays if retry) == 60.0


def test_a_failure_that_repeats_itself_is_not_tried_again() -> None:
    retries = Retries(10)
    assert retries.decide("t1", CRASH)
    assert retries.decide("t1", Failure(FailureReason.CRASHED, CRASH.error, 9))
    assert retries.decide("t1", CRASH) is None


def test_a_worker_that_dies_the_same_way_again_is_tried_again() -> None:
    retries = Retries(3)
    died = Failure(FailureReason.WORKER_DIED, "The actor died unexpectedly", 4)
    assert [retries.decide("t1", died) for _ in range(4)] == [
        Retry(1.0),
        Retry(2.0),
        Retry(4.0),
        None,
    ]


def test_a_lost_node_counts_only_if_the_trial_got_no_further_since_the_last_one() -> None:
    retries = Retries(0)
    lost = [Failure(FailureReason.NODE_LOST, str(n), n) for n in (None, 4.0, 9.0, 9.0)]
    again = [retries.decide("t1", failure) for failure in lost]
    assert again == [Retry(1.0), Retry(1.0), Retry(1.0), None]
    assert retries.decide("t2", lost[-1]) == Retry(1.0)


def test_a_node_that_has_died_is_told_from_a_worker() -> None:
    words = "The actor died because its node has died. Node Id: 0123"
    assert describe_failure(text(f"ActorDiedError: {words}")).reason is FailureReason.NODE_LOST


def test_a_refused_configuration_is_never_tried_again() -> None:
    refused = describe_failure(text("ConfigurationRefusedError: minibatch_size"))
    assert Retries(5).decide("t1", refused) is None


def test_out_of_memory_is_tried_once_more_alone_whatever_the_limit() -> None:
    retries = Retries(0)
    error = Failure(FailureReason.OUT_OF_MEMORY, "MemoryError", 2)
    assert retries.decide("t1", error) == Retry(1.0, alone=True)
    assert retries.decide("t1", error) is None


def test_a_trial_that_diverged_gets_no_second_chance() -> None:
    retries = Retries(limit=5)
    assert (
        retries.decide("t0001", Failure(FailureReason.DIVERGED, "TrialDivergedError: 2 of 2", 3))
        is None
    )
