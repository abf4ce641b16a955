from __future__ import annotations

from sweeper.running.tune.nodes import Node, NodeHealth, count_room

GOOD, BAD = Node("a" * 56, "10.0.0.1"), Node("b" * 56, "10.0.0.2")


def test_a_node_on_which_several_trials_fail_is_avoided_by_all_and_named_once() -> None:
    health = NodeHealth()
    health.note_report(GOOD)
    for trial_id in ("t0001", "t0002"):
        health.note_failure(BAD, trial_id)
    assert health.avoided_by("t0003") == frozenset()
    assert health.take_new() == []
    health.note_failure(BAD, "t0003")
    assert health.avoided_by("t0004") == {BAD.node_id}
    assert health.take_new() == [BAD]
    assert health.take_new() == []


def test_a_trial_that_is_tried_again_does_not_go_where_it_failed() -> None:
    health = NodeHealth()
    health.note_failure(BAD, "t0001")
    assert health.avoided_by("t0001") == {BAD.node_id}
    assert health.avoided_by("t0002") == frozenset()


def test_one_trial_that_fails_again_and_again_condemns_no_node() -> None:
    health = NodeHealth()
    health.note_report(GOOD)
    for _ in range(9):
        health.note_failure(BAD, "t0001")
    assert health.avoided_by("t0002") == frozenset()


def test_where_nobody_gets_on_anywhere_it_is_not_the_node() -> None:
    health = NodeHealth()
    for trial_id in ("t0001", "t0002", "t0003"):
        health.note_failure(GOOD, trial_id)
        health.note_failure(BAD, trial_id)
    assert health.avoided_by("t0004") == frozenset()
    assert health.take_new() == []


def test_a_report_from_a_node_acquits_it() -> None:
    health = NodeHealth()
    health.note_report(GOOD)
    for trial_id in ("t0001", "t0002", "t0003"):
        health.note_failure(BAD, trial_id)
    health.note_report(BAD)
    assert health.avoided_by("t0001") == frozenset()


def test_a_trial_has_room_where_each_of_its_bundles_fits_on_one_node() -> None:
    small, large = {"CPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}
    one = [{"CPU": 1.0}]
    assert count_room(one, [], most=9) == 0
    assert count_room(one, [small, small], most=9) == 2
    assert count_room([{"CPU": 2.0}], [small, small], most=9) == 0
    assert count_room(one * 2, [small, small, small], most=9) == 1
    assert count_room([{"CPU": 1.0, "GPU": 1.0}], [small, large], most=9) == 1
    assert count_room([{"CPU": 1.0}, {"CPU": 3.0, "GPU": 1.0}], [large], most=9) == 1
    assert count_room([{"CPU": 0.5}], [small, large], most=9) == 9
    assert large == {"CPU": 4.0, "GPU": 1.0}
