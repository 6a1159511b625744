"""FollowOptions: made once, given as keywords or as an object, and passed on unchanged."""

from __future__ import annotations

import pickle

import pytest

from kevy_ring.replica.fleet import Fleet
from kevy_ring.replica.fleet.child import RunnerOrders
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.runner import Runner
from kevy_ring.replica.upstream_url import parse_upstream
from recording_sender import RecordingSender


def shard_main(*_: object) -> None: ...


def test_the_fields_of_the_options_are_keywords_of_fleet_and_runner() -> None:
    fleet = Fleet(["kevy://h:7000", "redis://h"], shard_main, shards=2, overflow_limit=5, psync_command="SECRET")
    upstreams = tuple(map(parse_upstream, ("kevy://h:7000", "kevy://h:7001", "redis://h")))
    assert fleet.options == FollowOptions(upstreams, overflow_limit=5, psync_command="SECRET")
    assert fleet.upstreams == list(upstreams)
    fleet.close()
    runner = Runner("redis://h", RecordingSender(), silence_s=3.0)
    assert runner.options == FollowOptions((parse_upstream("redis://h"),), silence_s=3.0)


def test_options_that_are_made_already_are_passed_on_unchanged() -> None:
    options = FollowOptions.of(["redis://one", "redis://two"], capacity=4096)
    fleet = Fleet(options, shard_main)
    assert fleet.options is options
    fleet.close()
    runner = Runner(options, RecordingSender(), shard=1)
    assert runner.options is options
    assert runner.upstream == options.upstreams[1]


@pytest.mark.parametrize("make", [Fleet, Runner])
def test_an_option_that_does_not_exist_is_a_type_error(make: type[Fleet] | type[Runner]) -> None:
    with pytest.raises(TypeError, match="overflow_limits"):
        make("redis://h", RecordingSender(), overflow_limits=5)  # type: ignore[arg-type]


def test_a_runners_orders_carry_the_options_through_a_pipe_and_show_no_secret() -> None:
    options = FollowOptions.of("redis://user:open-sesame@h", psync_command="RENAMED")
    orders = pickle.loads(pickle.dumps(RunnerOrders(options, 0, "ring", "replica")))
    assert orders.options == options
    assert orders.options.upstreams[0].options["password"] == "open-sesame"
    assert "open-sesame" not in repr(orders)
