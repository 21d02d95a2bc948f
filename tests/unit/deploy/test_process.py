"""Policies of supervised processes."""

from pathlib import Path

import pytest

from procurator.deploy.embedded.process import ProcessSpec, RestartPolicy, stop_tiers


def spec(name: str, *depends_on: str) -> ProcessSpec:
    return ProcessSpec(name, ("true",), Path("/"), depends_on=depends_on)


def test_pauses_double_up_to_a_limit() -> None:
    policy = RestartPolicy(first_s=0.5, pause_s_max=3.0)
    assert [policy.pause_s(failures, chance=0.5) for failures in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert policy.pause_s(10_000, chance=0.5) == 3.0


def test_the_jitter_is_a_quarter_either_way() -> None:
    policy = RestartPolicy(first_s=1.0)
    assert policy.pause_s(1, chance=0.0) == 0.75
    assert policy.pause_s(1, chance=0.999999) == pytest.approx(1.25, abs=1e-5)


def test_a_process_that_had_run_for_long_starts_the_count_again() -> None:
    policy = RestartPolicy(healthy_after_s=30.0)
    assert policy.failures_after(4, ran_s=29.9) == 5
    assert policy.failures_after(4, ran_s=30.0) == 1


def test_dependents_stop_before_what_they_depend_on() -> None:
    kafka, setup, sink, api = spec("kafka"), spec("setup", "kafka"), spec("sink", "kafka", "setup"), spec("api")
    assert stop_tiers((kafka, setup, sink, api)) == [[sink, api], [setup], [kafka]]


def test_what_is_not_run_does_not_count() -> None:
    assert stop_tiers((spec("sink", "kafka"),)) == [[spec("sink", "kafka")]]


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="depend on one another: \\['a', 'b'\\]"):
        stop_tiers((spec("a", "b"), spec("b", "a")))
