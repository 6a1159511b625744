"""Options come from the command line, the environment and a TOML file, and --print-config shows where from."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kevy_ring.cli.byte_size import ByteSize
from kevy_ring.cli.command import run
from kevy_ring.cli.configuration.command import ConfiguredCommand
from kevy_ring.cli.configuration.names import key_of, variable_of
from kevy_ring.cli.ingest.command import ingest
from kevy_ring.replica.stall_watch import STALL_AFTER_S

SECRET = "open-sesame"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of this machine's user must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("KEVY_RING_")]:
        monkeypatch.delenv(name)


def params(*arguments: str) -> dict[str, Any]:
    return ingest.make_context("ingest", list(arguments)).params


def written(directory: Path, text: str, name: str = "kevy.toml") -> str:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    """What --print-config prints: as TOML, and as text."""
    assert run(["ingest", *arguments, "--print-config"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return tomllib.loads(out), out


#: Values of options with a type of their own.
SAMPLES = {"capacity": "64KiB", "file-mode": "0640", "overflow-limit": "9MiB", "on-error": "skip", "changes": "7d"}


def _sample(parameter: click.Parameter) -> tuple[str, str]:
    """A value of an option, as text and as TOML, that is not its default."""
    if isinstance(parameter, click.Option) and parameter.is_bool_flag:
        return "1", "true"
    if isinstance(parameter.type, click.Choice):
        choice = str(parameter.type.choices[-1])
        return choice, f'"{choice}"'
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return "7", "7"
    text = SAMPLES.get(key_of(parameter), "redis://h:1")
    return text, f'"{text}"'


EACH = [each for each in ingest.params if each.name not in ("config", "print_config")]


@pytest.mark.parametrize("parameter", EACH, ids=key_of)
def test_every_option_comes_from_its_variable_and_from_the_file_too(
    parameter: click.Parameter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, toml = _sample(parameter)
    name = str(parameter.name)
    without = params()[name]
    from_file = params("--config", written(tmp_path, f"{key_of(parameter)} = {toml}\n"))[name]
    monkeypatch.setenv(variable_of(parameter), text)
    from_variable = params()[name]
    assert from_file == from_variable != without


def test_the_command_line_wins_then_the_environment_then_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(tmp_path, 'urls = ["redis://file"]\nsink = "jsonl:file"\nname = "file"\nops = 1\n')
    monkeypatch.setenv("KEVY_RING_URLS", "redis://environment")
    monkeypatch.setenv("KEVY_RING_SINK", "jsonl:environment")
    monkeypatch.setenv("KEVY_RING_CONFIG", path)
    found = params("redis://typed")
    assert (found["urls"], found["sink"]) == (("redis://typed",), "jsonl:environment")
    assert (found["name_prefix"], found["ops"], found["stall_after_s"]) == ("file", 1, STALL_AFTER_S)
    assert params("--sink", "null")["sink"] == "null"


@pytest.mark.parametrize("text", ["redis://a redis://b", "redis://a\nredis://b\n", "\n redis://a\n\nredis://b"])
def test_several_values_of_a_variable_are_separated_by_blanks_or_lines(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEVY_RING_URLS", text)
    monkeypatch.setenv("KEVY_RING_DATA_URL", text)
    assert params()["urls"] == params()["data_urls"] == ("redis://a", "redis://b")


def test_with_line_breaks_a_value_may_contain_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(cls=ConfiguredCommand)
    @click.option("--only", multiple=True)
    def made(only: tuple[str, ...]) -> None: ...

    monkeypatch.setenv("KEVY_RING_ONLY", "a b*\nc")
    assert made.make_context("made", []).params["only"] == ("a b*", "c")


def test_an_option_of_any_kind_comes_through_and_is_printed_as_it_was_given(tmp_path: Path) -> None:
    @click.command(cls=ConfiguredCommand)
    @click.option("--keep/--no-keep", default=None)
    @click.option("--sync/--no-sync", default=True)
    @click.option("--db", type=int, multiple=True)
    @click.option("--size", type=ByteSize(), multiple=True)
    @click.option("--pair", nargs=2)
    @click.option("-v", "--verbose", count=True)
    @click.option("--level", type=click.Choice(["debug", "info"], case_sensitive=False), default="info")
    @click.option("--changes", default="off", callback=lambda context, parameter, value: {"parsed": value})
    def made(**options: Any) -> None: ...

    text = 'sync = false\ndb = [1, 2]\nsize = ["1KiB", 5]\npair = ["a b", "c"]\nverbose = 2\nlevel = "DEBUG"\n'
    path = written(tmp_path, text + 'changes = "7d"\n')
    found = made.make_context("made", ["--config", path]).params
    assert found == {
        "keep": None, "sync": False, "db": (1, 2), "size": (1024, 5), "pair": ("a b", "c"), "verbose": 2,
        "level": "debug", "changes": {"parsed": "7d"},
    }  # fmt: skip
    shown = CliRunner().invoke(made, ["--config", path, "--print-config"]).output
    assert "# keep is not set" in shown
    assert made.make_context("made", ["--config", written(tmp_path, shown, "again.toml")]).params == found


def test_a_switch_can_be_off_in_the_environment_and_an_empty_variable_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(tmp_path, "verify = true\n")
    for text, wanted in (("0", False), ("no", False), ("yes", True), ("", True)):
        monkeypatch.setenv("KEVY_RING_VERIFY", text)
        assert params("--config", path)["verify"] is wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snk = 'null'", "'snk' is not a key: did you mean sink?"),
        ("stall_after = 3", "'stall_after' is not a key: did you mean stall-after?"),
        ("zzzz = 3", "'zzzz' is not a key: the keys are the long options without their dashes"),
        ("config = 'x'", "'config' is not a key"),
        ("[ingest]\nsink = 'null'", "[ingest] is a table, but all keys belong at the top of the file"),
        ("sink = 5", "sink must be a text in quotes, not a whole number"),
        ("sink = ['null']", "sink must be a text in quotes, not an array"),
        ("verify = 'yes'", "verify must be true or false, not a text"),
        ("verify = 1", "verify must be true or false, not a whole number"),
        ("ops = true", "ops must be a whole number, not true or false"),
        ("ops = 1.5", "ops must be a whole number, not a number"),
        ("ops = 2026-11-28", "ops must be a whole number, not a date or a time"),
        ("capacity = false", "capacity must be a text in quotes or a whole number, not true or false"),
        ("duration = '5'", "duration must be a number, not a text"),
        ("urls = ['redis://a', 5]", "urls must be an array of values: each must be a text in quotes, not a whole"),
        ("capacity = 5000", "capacity: '5000' is not a power of two"),
        ("duration = 0", "duration: "),
        ("file-mode = 0o640", "file-mode: '416' is no mode of files to write"),
        ("protocol = 'other'", "protocol: 'other' is not one of"),
        ("sink = ", "it is no TOML that can be read: "),
        ("a = " + "[" * 5000, "it is no TOML that can be read: "),
        ("urls = ['redis://:***@h']", "urls must be an array of values: each has a secret that --print-config has"),
        ("sink = 'redis://h?ssl_password=***'", "sink has a secret that --print-config has hidden"),
        ("password = '***'", "password has a secret that --print-config has hidden"),
    ],
)
def test_a_mistake_in_the_file_is_one_error_with_its_place(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    assert run(["ingest", "--config", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    usage, line = err.splitlines()
    assert usage.startswith("Usage: kevy-ring ingest")
    assert line.startswith(f"kevy-ring: --config {path}: {words}")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    binary, fifo, large = tmp_path / "binary", tmp_path / "fifo", tmp_path / "large"
    binary.write_bytes(b"sink = '\xff'")
    large.write_bytes(b"#" * (1 << 21))
    os.mkfifo(fifo)  # no process ever writes to it
    monkeypatch.setattr("kevy_ring.cli.configuration.small_file._PATIENCE_S", 0.1)
    for path, words in (
        (tmp_path / "none", "it cannot be read: No such file or directory"),
        (tmp_path, "it cannot be read: Is a directory"),
        (binary, "it is not UTF-8 text"),
        (large, "it is no TOML that can be read: it has more than 1048576 bytes"),
        (fifo, "it cannot be read: nothing came out of it for 0.1 s"),
    ):
        monkeypatch.setenv("KEVY_RING_CONFIG", str(path))
        assert run(["ingest"]) == 2
        assert f"--config {path}: {words}" in capsys.readouterr().err


def test_a_bad_variable_is_named_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (
        ("KEVY_RING_CAPACITY", f"redis://user:{SECRET}@h"),
        ("KEVY_RING_OPS", f"redis://user:{SECRET} and more@h"),
        ("KEVY_RING_VERIFY", "perhaps"),
        ("KEVY_RING_METRICS_PORT", "tcp://10.0.0.1:9400"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, text)
            assert run(["ingest"]) == 2
        err = capsys.readouterr().err
        assert f"kevy-ring: environment variable {name}" in err
        assert SECRET not in err
    assert "Kubernetes makes such a variable for a service" in err


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KEVY_RING_STALL_AFTR", "3")
    monkeypatch.setenv("KEVY_RING_SERVICE_HOST", "10.0.0.1")  # Kubernetes, for a service named kevy-ring
    assert run(["ingest", "--print-config"]) == 0
    assert capsys.readouterr().err == (
        "kevy-ring: KEVY_RING_STALL_AFTR has no effect: did you mean KEVY_RING_STALL_AFTER?\n"
    )


def test_print_config_shows_each_value_with_its_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, 'name = "orders"\ncapacity = 65536\nstall-after = 0\n')
    monkeypatch.setenv("KEVY_RING_SINK", 'jsonl:a "b" \\ \x7f ü')
    found, text = printed(capsys, "redis://h", "--config", path, "--file-mode", "640", "--verify")
    assert 'urls = ["redis://h"]  # command line' in text
    assert "  # environment: KEVY_RING_SINK\n" in text
    assert f'name = "orders"  # file: {path}\n' in text
    assert 'metrics-address = "127.0.0.1"  # default\n' in text
    assert "# metrics-port is not set\n" in text
    assert (found["sink"], found["file-mode"], found["verify"]) == ('jsonl:a "b" \\ \x7f ü', "640", True)
    assert (found["capacity"], found["stall-after"], found["no-keep"]) == ("65536", 0, False)
    assert not {"config", "print-config", "help"} & found.keys()


def test_what_print_config_prints_gives_the_same_options_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["redis://me@h", "kevy://h:1", "--shards", "2", "--duration", "1.5", "--stall-after", "0",
                 "--data-url", "redis://d", "--overflow-limit", "1MiB", "--file-mode", "0660", "--json"]  # fmt: skip
    _, text = printed(capsys, *arguments)
    assert params("--config", written(tmp_path, text)) == params(*arguments)
    _, defaults = printed(capsys)
    assert params("--config", written(tmp_path, defaults)) == params()


def test_print_config_hides_every_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, f'sink-password = "{SECRET}"\ndata-url = "redis://:{SECRET}@d"\n')
    monkeypatch.setenv("KEVY_RING_PASSWORD", SECRET)
    monkeypatch.setenv("KEVY_RING_URLS", f"rediss://me:{SECRET}@h/?ssl_password={SECRET}&ssl_ca_certs=/ca")
    found, text = printed(capsys, "--config", path, "--sink", f"redis://:{SECRET}/{SECRET}@h/{{shard}}")
    assert SECRET not in text
    assert found["urls"] == ["rediss://me:***@h/?ssl_password=***&ssl_ca_certs=/ca"]
    assert (found["sink"], found["data-url"]) == ("redis://:***@h/{shard}", ["redis://:***@d"])
    assert "# password is hidden  # environment: KEVY_RING_PASSWORD\n" in text
    assert f"# sink-password is hidden  # file: {path}\n" in text


def test_the_environment_keeps_no_secret_after_the_options_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEVY_RING_PASSWORD", SECRET)
    monkeypatch.setenv("KEVY_RING_URLS", f"redis://a redis://:{SECRET}@b")
    monkeypatch.setenv("KEVY_RING_SINK", "sqlite:x")
    params()
    assert {name for name in os.environ if name.startswith("KEVY_RING_")} == {"KEVY_RING_SINK"}


def test_a_usage_error_does_not_repeat_a_secret_of_a_variable_or_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = f"redis://user:{SECRET} {SECRET}@h"
    path = written(tmp_path, f'urls = ["kevy://h:1"]\nsink = "other:{broken}"\n')
    assert run(["ingest", "--config", path]) == 2
    monkeypatch.setenv("KEVY_RING_PSYNC_COMMAND", broken)
    assert run(["ingest", "redis://h", "--sink", "null"]) == 2
    out, err = capsys.readouterr()
    assert "--sink: " in err
    assert "--psync-command: " in err
    assert SECRET not in out + err
