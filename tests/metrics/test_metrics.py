"""The metrics: names by Prometheus' rules, figures equal to the header's, and the server of `ingest`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, Ring, replica_inbox_pair
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.metrics import RingCollector, collector
from kevy_ring.ring import TIME_BOUNDS_S
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, run_command, wait_until

PREFIX = f"kr-met-{os.getpid()}"
Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture
def rings() -> Iterator[RingCollector]:
    rings = collector(PREFIX)
    yield rings
    rings.close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(4096, name=f"{PREFIX}-a")
    yield sender, receiver
    with contextlib.suppress(Exception):
        receiver.close()
    sender.close(timeout=0)


def exposed(rings: RingCollector) -> str:
    registry = CollectorRegistry()
    registry.register(rings)
    return generate_latest(registry).decode()


def samples(rings: RingCollector) -> dict[tuple[str, ...], float]:
    """The figures by name and label values, without the label of the ring."""
    found = {}
    for family in text_string_to_metric_families(exposed(rings)):
        for sample in family.samples:
            labels = [value for label, value in sample.labels.items() if label != "ring"]
            found[(sample.name, *labels)] = sample.value
    return found


def fill_words(inbox: Inbox) -> None:
    """Set the words that a runner and a shard set."""
    sender, receiver = inbox
    said = {ProducerWord.LINK_STATE: LinkState.STREAMING, ProducerWord.FULL_SYNCS: 1, ProducerWord.RECONNECTS: 2}
    for word, value in {**said, ProducerWord.RECEIVED_OFFSET: 31, ProducerWord.UPSTREAM_OFFSET: 41}.items():
        sender.set_word(word, value)
    for word, value in ((8, 5), (9, 500), (10, 7), (11, 1)):
        receiver.set_word(word, value)


def test_the_figures_are_those_of_the_header(rings: RingCollector, inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([Frame(n, [b"SET", b"key", b"v" * 100]) for n in range(50)])
    receiver.drain(max_events=5).release()
    receiver.mark_applied(4)
    wait_until(lambda: receiver.stats().used_bytes == 28 * 144)  # the pump has filled the ring again
    fill_words(inbox)
    stats, found = receiver.stats(), samples(rings)
    for name, value in {
        ("kevy_ring_capacity_bytes",): 4096,
        ("kevy_ring_used_bytes",): stats.used_bytes,
        ("kevy_ring_records_total", "producer"): stats.events_in,
        ("kevy_ring_records_total", "consumer"): 5,
        ("kevy_ring_overflow_events",): sender.overflow.events,
        ("kevy_ring_drains_total",): 1,
        ("kevy_ring_role_state", "consumer", "alive"): 1,
        ("kevy_ring_role_state", "consumer", "dead"): 0,
        ("kevy_ring_role_claims_total", "producer"): 1,
        ("kevy_ring_applied_offset",): 4,
        ("kevy_ring_received_offset",): 30,
        ("kevy_ring_upstream_offset",): 40,
        ("kevy_ring_link_state", "streaming"): 1,
        ("kevy_ring_syncs_total", "full"): 1,
        ("kevy_ring_reconnects_total",): 2,
        ("kevy_ring_frames_applied_total",): 5,
        ("kevy_ring_snapshot_keys_loaded_total",): 7,
        ("kevy_ring_corrupt",): 0,
    }.items():
        assert found[name] == value, name
    assert stats.events_in + sender.overflow.events == 50
    assert sum(value for (name, *_), value in found.items() if name == "kevy_ring_build_info") == 1


def test_a_ring_alone_has_no_figures_of_replication(rings: RingCollector) -> None:
    with Ring.create(4096, f"{PREFIX}-alone"):
        names = {name for name, *_ in samples(rings)}
    assert not [name for name in names if re.search("offset|link|sync|snapshot|frame|last_drain", name)]


def test_a_corrupt_ring_is_told_and_its_figures_are_left_out(rings: RingCollector) -> None:
    with Ring.create(4096, f"{PREFIX}-torn") as ring:
        assert samples(rings)[("kevy_ring_used_bytes",)] == 0
        with open(f"/dev/shm/{ring.name}", "r+b") as file:
            file.seek(0x100)
            file.write(b"\x08" * 8)
        found = samples(rings)
        assert found[("kevy_ring_corrupt",)] == 1
        assert ("kevy_ring_used_bytes",) not in found


def test_the_time_in_the_ring_becomes_a_histogram(rings: RingCollector, inbox: Inbox) -> None:
    sender, receiver = inbox
    assert ("kevy_ring_oldest_record_age_seconds",) not in samples(rings)
    sender.send(Frame(1, [b"a"]))
    time.sleep(0.03)
    assert samples(rings)[("kevy_ring_oldest_record_age_seconds",)] >= 0.03
    receiver.drain().release()
    found = samples(rings)
    buckets = {name[1]: value for name, value in found.items() if name[0] == "kevy_ring_time_in_ring_seconds_bucket"}
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["0.025"], buckets["+Inf"], found[("kevy_ring_time_in_ring_seconds_count",)]) == (0, 1, 1)
    assert [float(bound) for bound in buckets] == [*TIME_BOUNDS_S, inf]
    assert found[("kevy_ring_time_in_ring_seconds_sum",)] == receiver.time_in_ring().total_s >= 0.03
    assert ("kevy_ring_oldest_record_age_seconds",) not in found


def test_only_the_wanted_rings_are_told() -> None:
    with Ring.create(4096, f"{PREFIX}-small"), Ring.create(8192, f"{PREFIX}-large"):
        rings = collector(PREFIX, wanted=lambda stats: stats.capacity > 4096)
        text = exposed(rings)
        rings.close()
    assert f"{PREFIX}-large" in text
    assert f"{PREFIX}-small" not in text


def test_two_collectors_in_one_registry_are_refused(rings: RingCollector) -> None:
    registry = CollectorRegistry()
    registry.register(rings)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(rings)


def test_open_metrics_reads_it_too(rings: RingCollector, inbox: Inbox) -> None:
    fill_words(inbox)
    registry = CollectorRegistry()
    registry.register(rings)
    families = {family.name for family in parse_open_metrics(generate_open_metrics(registry).decode())}
    assert {"kevy_ring_records", "kevy_ring_link_state", "kevy_ring_time_in_ring_seconds"} <= families


@pytest.mark.usefixtures("promtool")
def test_promtool_has_nothing_to_say(rings: RingCollector, inbox: Inbox) -> None:
    fill_words(inbox)
    inbox[1].drain().release()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed(rings), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


UNITS = {"seconds", "bytes", "ratio", "info"}
NO_BASE_UNIT = re.compile(r"(milli|micro|nano)seconds|minutes|hours|days|kilobytes|megabytes|bits|percent")
TYPE_IN_NAME = re.compile(r"_(counter|gauge|histogram|summary|metric)(_|$)")


def test_names_and_texts_follow_the_rules_that_promtool_checks(rings: RingCollector, inbox: Inbox) -> None:
    for family in rings.describe():
        name = family.name + "_total" if family.type == "counter" else family.name
        assert re.fullmatch(r"kevy_ring_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation.endswith((".", "versions that these figures come from.")), name
        assert not NO_BASE_UNIT.search(name), name
        assert not TYPE_IN_NAME.search(name), name
        assert name.endswith("_total") == (family.type == "counter"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_created")), name
        if family.type == "histogram":
            assert name.rsplit("_", 1)[1] in UNITS
    fill_words(inbox)
    labels = {label for family in rings.collect() for sample in family.samples for label in sample.labels}
    assert labels <= {"ring", "role", "state", "how", "reason", "version", "python", "le"}


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=120) as answer:
        return str(answer.read().decode())


def open_files(pid: int) -> Iterator[str]:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            yield os.readlink(fd)


def test_ingest_serves_the_metrics_of_its_own_rings_while_it_runs() -> None:
    with (
        Ring.create(4096, f"{PREFIX}-other") as other,
        EmbeddedPrimary.start(1, 50, 100, big_values=0, protocol=2) as primary,
        RunningCommand("ingest", primary.url, "--sink", "null", "--json", "--metrics-port", "0") as running,
    ):
        note = running.read_until(lambda found: found["type"] == "note" and "metrics" in found["text"])
        url = note["text"].split()[-1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
        wait_until(lambda: 'kevy_ring_link_state{ring="' in read(url))
        text = read(url)
        assert not any(other.name in name for name in open_files(running.pid))
    assert other.name not in text
    assert 'state="streaming"' in text


def test_a_port_that_cannot_be_had_is_one_line_and_exit_code_1() -> None:
    done = run_command("ingest", "--metrics-port", "9", "--metrics-address", "192.0.2.1", "--ops", "1")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith("kevy-ring: no metrics at 192.0.2.1:9: ")


def test_without_the_client_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError(name='prometheus_client')")
    done = run_command("ingest", "--metrics-port", "0", "--ops", "1", path=[tmp_path])
    assert done.code == 1
    assert done.err == "kevy-ring: prometheus-client is not installed; pip install 'kevy-ring[metrics]'\n"


def test_neither_the_library_nor_the_command_needs_it_before_it_is_asked_for() -> None:
    program = "import sys, kevy_ring.cli.command, kevy_ring.inbox; sys.exit('prometheus_client' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=False).returncode == 0


def test_the_lag_begins_at_a_sample_and_ends_with_the_last_event(rings: RingCollector, inbox: Inbox) -> None:
    sender, receiver = inbox
    rings.sample()
    sender.send_many([Frame(n, [b"SET", b"key", b"v" * 100]) for n in range(50)])  # more than the ring holds
    rings.sample()
    time.sleep(0.05)
    found = samples(rings)
    assert 0.05 <= found[("kevy_ring_apply_lag_seconds",)] < 100
    stats = receiver.stats()
    assert found[("kevy_ring_apply_lag_bytes",)] == stats.used_bytes + stats.overflow_bytes > 4096
    while receiver.recv(timeout=60) != Frame(49, [b"SET", b"key", b"v" * 100]):
        pass
    found = samples(rings)
    assert (found[("kevy_ring_apply_lag_seconds",)], found[("kevy_ring_apply_lag_bytes",)]) == (0, 0)


def test_a_measured_record_dates_what_waited_before_the_first_look(inbox: Inbox) -> None:
    sender, _ = inbox
    sender.send(Frame(0, [b"a"]))
    time.sleep(0.03)
    rings = collector(PREFIX)
    assert samples(rings)[("kevy_ring_apply_lag_seconds",)] >= 0.03
    rings.close()


def test_the_silence_of_the_upstream_is_told_once_it_has_spoken(rings: RingCollector, inbox: Inbox) -> None:
    sender, _ = inbox
    sender.set_word(ProducerWord.LINK_STATE, LinkState.WAITING)
    assert ("kevy_ring_upstream_silence_seconds",) not in samples(rings)
    sender.set_word(ProducerWord.HEARD_NS, time.monotonic_ns() - 5_000_000_000)
    assert 5 <= samples(rings)[("kevy_ring_upstream_silence_seconds",)] < 100
    sender.set_word(ProducerWord.HEARD_NS, time.monotonic_ns() + 5_000_000_000)  # forged: never below 0
    assert samples(rings)[("kevy_ring_upstream_silence_seconds",)] == 0
