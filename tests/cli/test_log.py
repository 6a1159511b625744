"""The log of ``kevy-ring ingest``: its lines as text and as JSON, and how it goes with standard output."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kevy_ring.cli.command import run
from kevy_ring.cli.ingest.milestones import Milestones
from kevy_ring.cli.log.formats import JsonFormat, TextFormat
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.log.run_log import LogOptions, RunLog
from kevy_ring.cli.views.log_view import LogView
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet.child_log import LineLog, SentRecord, log_of_child
from kevy_ring_command import run_command
from places import SUPPORT
from progress_of import progress_of
from redis_server import RedisServer, find_redis

SECRET = "open-sesame"
SMALL = ("--keys", "40", "--ops", "400", "--shards", "1")
FULL = Path("/dev/full")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(note: Note) -> logging.LogRecord:
    made = logging.LogRecord("kevy_ring.test", note.level, "", 0, "%s", (note.text,), None)
    made.created = 1_700_000_000.5
    made.__dict__["note"] = note
    return made


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_of_text_has_time_level_and_process() -> None:
    shown = TextFormat().format
    of_runner = Note("connected", shard=3, process="runner", pid=77)
    assert shown(record(of_runner)) == "2023-11-14T22:13:20.500Z INFO    runner-3[77] connected"
    assert re.fullmatch(
        rf"{TIME} WARNING ingest\[\d+\] shard 3: it died", shown(record(Note("it died", logging.WARNING, shard=3)))
    )
    assert re.fullmatch(r"\d\d:13:20 INFO    runner-3: connected", TextFormat(is_short=True).format(record(of_runner)))


def test_an_object_has_the_time_the_level_the_process_and_the_fields_of_the_event() -> None:
    facts = {"how": "partial", "shards": [{"frames": 3}], "level": "cannot replace"}
    note = Note("linked", event="synced", shard=0, process="runner", pid=77, facts=facts)
    assert json.loads(JsonFormat().format(record(note))) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "info",
        "logger": "kevy_ring.test",
        "process": "runner",
        "pid": 77,
        "shard": 0,
        "event": "synced",
        "message": "linked",
        "how": "partial",
        "shards": [{"frames": 3}],
    }


def test_text_from_outside_can_forge_no_line_and_no_line_has_a_secret() -> None:
    forged = "\x1b[2Jno\n2026-01-01T00:00:00.000Z ERROR   ingest[1] redis://u:open-sesame@h"
    note = Note(forged, facts={"url": f"redis://u:{SECRET}@h", "all": [{"url": f"redis://:{SECRET}@h"}]})
    text, found = TextFormat().format(record(note)), JsonFormat().format(record(note))
    assert SECRET not in text + found
    first, second = text.splitlines()
    assert first.endswith(r"\x1b[2Jno")
    assert second.startswith("    2026")
    assert "\n" not in found
    assert json.loads(found)["url"] == "redis://***@h"


class KeptRecords(logging.Handler):
    """Keeps the records of the package. caplog would see them once or twice: a command in this process ends the
    propagation of the package's logger, and pytest then adds its handlers to that logger too."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_record_of_a_child_is_logged_in_the_parent_under_its_own_logger() -> None:
    sent: list[SentRecord] = []
    child = LineLog(lambda topic, fact: sent.append(fact), 30, ("kevy_ring.told",))
    for name in ("kevy_ring.told", "kevy_ring.inbox.exit_flush"):
        child.emit(logging.LogRecord(name, logging.WARNING, "", 0, "%d events are left", (5,), None))
    try:
        raise ValueError("a long reason, of which the end is cut")
    except ValueError:
        child.emit(logging.LogRecord("kevy_ring.inbox", logging.ERROR, "", 0, "failed", (), sys.exc_info()))
    logger, kept = logging.getLogger("kevy_ring"), KeptRecords()
    logger.addHandler(kept)
    try:
        for each in sent:
            log_of_child(2, "runner", 77, each)
    finally:
        logger.removeHandler(kept)
    left, failed = (each for each in kept.records if hasattr(each, "said"))  # another test may have left a thread
    assert (left.name, left.getMessage()) == ("kevy_ring.inbox.exit_flush", "shard 2: 5 events are left")
    assert failed.getMessage() == "shard 2: failed\nTraceback (most recent "
    found = json.loads(JsonFormat().format(left))
    assert [found[name] for name in ("process", "pid", "shard", "message")] == ["runner", 77, 2, "5 events are left"]
    assert re.fullmatch(rf"{TIME} WARNING runner-2\[77\] 5 events are left", TextFormat().format(left))


def logged_progress(interval_s: float | None, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """The seconds at which progress was logged, of a view that was called every second for four minutes."""
    with RunLog(LogOptions(log_interval_s=interval_s, log_format="json")) as log:
        view = LogView(log)
        view.title("a run")
        for second in range(240):
            view.progress("following the upstream", second, [progress_of()])
    return [each["elapsed_s"] for each in objects(capsys.readouterr().err) if each["event"] == "progress"]


def test_the_progress_is_logged_once_in_each_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert logged_progress(60.0, capsys) == [60, 120, 180]
    assert logged_progress(100.0, capsys) == [100, 200]
    assert logged_progress(None, capsys) == []


def test_snapshots_and_catching_up_are_milestones_that_are_told_once() -> None:
    milestones = Milestones()

    def events(now: float, **looked: Any) -> list[str]:
        state = looked.pop("state", LinkState.STREAMING)
        return [note.event for note in milestones.passed(progress_of(state, **looked), now)]

    before = {"entries": 0, "snapshots_sent": 0, "snapshots_applied": 0}
    assert events(0.0, **before) == []
    milestones.synced(0, is_full=True)
    assert events(0.1, **before, waiting_bytes=100) == []
    assert events(0.2, state=LinkState.SNAPSHOT, **before, waiting_bytes=100) == ["snapshot_begun"]
    assert events(0.3, state=LinkState.SNAPSHOT, **before, waiting_bytes=100) == []
    after = {"entries": 7, "snapshots_sent": 1, "snapshots_applied": 1, "received": 9, "applied": 9}
    assert events(0.4, **after) == ["snapshot_applied"]
    assert [event for tick in range(5, 30) for event in events(tick / 10, **after)] == ["caught_up"]
    # A snapshot that came and went between two looks.
    milestones.synced(0, is_full=True)
    assert events(3.1, **{**after, "snapshots_sent": 2, "snapshots_applied": 2}) == [
        "snapshot_begun",
        "snapshot_applied",
    ]


def test_with_the_format_json_standard_error_holds_objects_only_and_standard_output_nothing() -> None:
    done = run_command(
        "ingest", *SMALL, "--sink", "python:cli_sinks:talking", "--log-format", "json", "--log-level", "debug",
        path=[SUPPORT],
    )  # fmt: skip
    assert (done.code, done.out) == (0, "")
    found = objects(done.err)
    assert all(re.fullmatch(TIME, each["time"]) for each in found)
    assert all({"level", "logger", "process", "pid", "event", "message"} <= each.keys() for each in found)
    at = {each["event"]: each for each in found}
    wanted = ("start", "started", "connected", "synced", "snapshot_begun", "snapshot_applied", "outcome", "end")
    assert [event for event in at if event in wanted] == list(wanted)
    assert at["synced"] | {"how": "full", "full_reason": "first", "shard": 0, "process": "runner"} == at["synced"]
    assert at["snapshot_applied"]["keys"] == 40
    assert sum(shard["frames"] for shard in at["outcome"]["shards"]) == 400
    assert (at["end"]["exit_code"], at["end"]["problem"]) == (0, None)
    # A record of a module in the shard's process.
    (warning,) = [each for each in found if each["logger"] == "kevy_ring.shard.sinks.python"]
    assert (warning["level"], warning["process"], warning["shard"]) == ("warning", "shard", 0)
    assert warning["pid"] == next(each["role_pid"] for each in found if each.get("role") == "shard")
    # Records of a sink's own code, and Python's warnings.
    of_sink = next(each for each in found if each["logger"] == "printer")
    assert (of_sink["message"], of_sink["shard"]) == ("low on ink at redis://***@printer", 0)
    assert "the paper is thin" in next(each["message"] for each in found if each["logger"] == "py.warnings")


def test_a_failure_is_an_object_too_in_the_format_json(capsys: pytest.CaptureFixture[str]) -> None:
    for sink, words in (
        (f"redis://:{SECRET}@127.0.0.1:1/{{shard}}", "sink redis://:***@127.0.0.1:1: io: "),
        ("python:cli_sinks:absent", "python:cli_sinks:absent"),
    ):
        assert run(["ingest", "--sink", sink, "--log-format", "json"]) in (1, 2)
        out, err = capsys.readouterr()
        assert (out, SECRET in err) == ("", False)
        if sink.startswith("redis"):
            (found,) = objects(err)
            assert (found["event"], found["level"], found["exit_code"]) == ("end", "error", 1)
            assert words in found["problem"]


def test_json_and_the_log_are_apart() -> None:
    done = run_command("ingest", *SMALL, "--sink", "null", "--json", "--log-format", "json")
    assert done.code == 0
    assert done.summary["ok"]
    assert {"start", "synced", "end"} <= {each["event"] for each in objects(done.err)}


@pytest.mark.parametrize(
    ("options", "as_json", "logged"),
    [
        (LogOptions(logging.DEBUG), False, ["DEBUG", "INFO", "ERROR"]),
        (LogOptions(), False, ["INFO", "ERROR"]),
        (LogOptions(logging.ERROR), False, ["ERROR"]),
        (LogOptions(logging.ERROR, log_format="text"), True, ["ERROR"]),
        (LogOptions(logging.DEBUG), True, []),  # with --json there is no log unless it is asked for
    ],
)
def test_the_log_has_its_level_and_the_notes_of_json_do_not_depend_on_it(
    options: LogOptions, as_json: bool, logged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[str] = []
    with RunLog(options, as_json=as_json) as log:
        log.report = lambda text, is_bad: reported.append(text)
        for level in (logging.DEBUG, logging.INFO, logging.ERROR):
            log.tell(Note("it happened", level, report="" if level == logging.DEBUG else "it happened"))
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == logged
    assert len(reported) == (2 if as_json or options.log_level <= logging.INFO else 1)


def test_json_and_the_log_exclude_each_other_if_the_stream_uses_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["ingest", "kevy://127.0.0.1:1", "--json", "--log-format", "text"]) == 2
    assert "--json and --log-format exclude each other" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    full = FULL.open("w")
    for out in (full, None):
        monkeypatch.setattr(sys, "stderr", out)
        with RunLog(LogOptions()) as log:
            log.tell(Note("it happened"))
    with contextlib.suppress(OSError):  # it still holds the line
        full.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(
        find_redis("7.0"), tmp_path / "redis", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "2"
    )
    yield server
    server.stop()


def test_the_wait_of_an_idle_redis_before_its_snapshot_is_said(redis_server: RedisServer) -> None:
    redis_server.client().set("a", 1)
    done = run_command("ingest", redis_server.url, "--sink", "null", "--until-caught-up", "--log-format", "json")
    assert done.code == 0
    events = [each["event"] for each in objects(done.err)]
    wanted = ["start", "connected", "preparing", "synced", "snapshot_begun", "snapshot_applied", "caught_up"]
    assert [event for event in events if event in wanted] == wanted
    (said,) = [each["message"] for each in objects(done.err) if each["event"] == "preparing"]
    assert "the upstream prepares the snapshot (Redis waits repl-diskless-sync-delay first" in said


def test_the_reason_of_a_failure_is_printed_once_where_both_outputs_are_one_file() -> None:
    arguments = ("ingest", f"redis://:{SECRET}@127.0.0.1:1", "--sink", "null", "--duration", "0.05")
    apart, reason = run_command(*arguments), "redis://:***@127.0.0.1:1 never synced"
    assert (apart.code, apart.out.count(reason), apart.err.count(reason)) == (1, 1, 1)
    together = subprocess.run(
        [sys.executable, "-m", "kevy_ring", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (together.returncode, together.stdout.count(reason)) == (1, 1)
    assert SECRET not in apart.out + apart.err + together.stdout
    *_, last = together.stdout.splitlines()
    assert re.match(rf"{TIME} ERROR   ingest\[\d+\] failed, exit code 1: shard 0: redis://:\*\*\*@", last)
