"""The files that GitHub and PyPI parse: links, citation, issue forms and the workflow."""

from __future__ import annotations

import re
import runpy
from fnmatch import fnmatch
from html.parser import HTMLParser
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt  # rich depends on it

import kevy_ring
from places import ROOT

TREE = ROOT
REPOSITORY = "https://github.com/kevy-ring/kevy-ring"
RAW = "https://raw.githubusercontent.com/kevy-ring/kevy-ring"
FORMS = sorted(path for path in (TREE / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
# The keys that each kind of field needs in GitHub's syntax for forms.
FIELDS = {"markdown": {"value"}, "input": {"label"}, "textarea": {"label"}, "dropdown": {"label", "options"}}


def read_yaml(path: str | Path) -> Any:
    return yaml.safe_load((TREE / path).read_text(encoding="utf-8"))


class Targets(HTMLParser):
    """``found``: the targets of all links and images of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(MarkdownIt("commonmark").enable("table").render(page))

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.found.append(value or "")
            elif name == "srcset":
                self.found += [each.split()[0] for each in (value or "").split(",")]


def long_description(tree: Path = TREE) -> str:
    made: str = runpy.run_path(str(TREE / "setup.py"))["long_description"](tree)
    return made


def of_the_installed_package() -> str:
    found = metadata("kevy-ring")
    return str(found.get_payload() or found["Description"])


@pytest.mark.parametrize("page", [long_description, of_the_installed_package])
def test_every_link_of_the_long_description_is_absolute_or_an_anchor(page: Any) -> None:
    targets = Targets(page()).found
    assert len(targets) > 3
    assert [each for each in targets if not re.match(r"https?://|#", each)] == []


def test_what_the_long_description_links_to_in_the_repository_is_there() -> None:
    ours = re.compile(rf"(?:{re.escape(REPOSITORY)}/blob|{re.escape(RAW)})/v{re.escape(kevy_ring.__version__)}/")
    places = [each[found.end() :] for each in Targets(long_description()).found if (found := ours.match(each))]
    assert places
    for place in places:
        assert (TREE / place.partition("#")[0]).exists(), place


def test_links_of_every_form_become_absolute_and_code_stays(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'version = "1.2.3"\nRepository = "{REPOSITORY}"\n', encoding="utf-8")
    (tmp_path / "README.md").write_text(
        "[a](docs/a.md#part) [b](./b.md 'title') [c](#here) [d](https://x.org/d) [e](mailto:e@x.org) [f]\n"
        "[![badge](docs/g.svg)](h/) ![i](/i.png)\n\n"
        '<picture><source srcset="j.svg"><img src="k.png"></picture> <a href="l.md">l</a>\n\n'
        "[f]: docs/f.md\n\n"
        "`m[0](n)`\n\n```python\no[0](p)\n```\n",
        encoding="utf-8",
    )
    page = long_description(tmp_path)
    pages, raw = f"{REPOSITORY}/blob/v1.2.3/", f"{RAW}/v1.2.3/"
    assert Targets(page).found == [
        f"{pages}docs/a.md#part", f"{pages}b.md", "#here", "https://x.org/d", "mailto:e@x.org", f"{pages}docs/f.md",
        f"{pages}h/", f"{raw}docs/g.svg", f"{raw}i.png",
        f"{raw}j.svg", f"{raw}k.png", f"{pages}l.md",
    ]  # fmt: skip
    assert "`m[0](n)`" in page
    assert "\no[0](p)\n" in page


def test_the_repository_has_one_address() -> None:
    urls = metadata("kevy-ring").get_all("Project-URL") or []
    named = dict(each.split(", ") for each in urls)
    assert set(named) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert named["Repository"] == REPOSITORY
    assert all(each.startswith(REPOSITORY) for each in named.values())
    for name in ("SECURITY.md", "CITATION.cff", ".github/ISSUE_TEMPLATE/config.yml"):
        assert REPOSITORY in (TREE / name).read_text(encoding="utf-8"), name


def test_a_long_lived_link_names_a_file_that_is_there() -> None:
    for each in metadata("kevy-ring").get_all("Project-URL") or []:
        if "/blob/main/" in each:
            assert (TREE / each.partition("/blob/main/")[2]).is_file(), each


def test_the_citation_is_of_this_version_and_has_what_cff_requires() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert all(each.get("name") or each.get("family-names") for each in citation["authors"])
    assert citation["type"] == "software"
    assert citation["version"] == kevy_ring.__version__  # a text, because 0.10 would be read as a number
    assert citation["license"] == metadata("kevy-ring")["License-Expression"]
    assert citation["title"] == metadata("kevy-ring")["Name"]
    assert len(set(citation["keywords"])) == len(citation["keywords"])
    known = {"abstract", "authors", "cff-version", "keywords", "license", "message", "repository-code", "title", "type"}
    assert set(citation) <= known | {"date-released", "doi", "url", "version"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_whole(path: Path) -> None:
    form = read_yaml(path)
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    for field in form["body"]:
        assert FIELDS[field["type"]] <= set(field["attributes"]), field
        assert set(field) <= {"type", "id", "attributes", "validations"}, field
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    labels = [field["attributes"]["label"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(names)) == len(names) > 0
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)
    for field in form["body"]:
        options = field["attributes"].get("options", [])
        assert len(set(options)) == len(options)


def test_there_are_templates_for_issues_and_pull_requests() -> None:
    assert {path.name for path in FORMS} == {"bug.yml", "feature.yml"}
    (contact,) = read_yaml(".github/ISSUE_TEMPLATE/config.yml")["contact_links"]
    assert set(contact) == {"name", "url", "about"}
    assert contact["url"] in (TREE / "SECURITY.md").read_text(encoding="utf-8")
    assert "make test" in (TREE / ".github" / "pull_request_template.md").read_text(encoding="utf-8")


def workflow() -> Any:
    found = read_yaml(".github/workflows/ci.yml")
    found["on"] = found.pop(True)  # YAML 1.1 reads the key "on" as a truth value
    return found


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow()["jobs"][job]["steps"]
    return found


def commands(job: str) -> str:
    return "\n".join(step.get("run", "") for step in steps(job))


def test_the_workflow_runs_the_one_check_and_builds_all_that_is_published() -> None:
    assert {"push", "pull_request"} <= set(workflow()["on"])
    assert ".ci/run" in commands("check").splitlines()
    assert (TREE / ".ci" / "run").stat().st_mode & 0o100
    assert "cibuildwheel --platform linux" in commands("wheels")
    built = {each["arch"] for each in workflow()["jobs"]["wheels"]["strategy"]["matrix"]["include"]}
    assert built == {"x86_64", "aarch64"}
    assert "--sdist" in commands("sdist")
    for job in ("wheels", "sdist"):
        assert any(step.get("uses", "").startswith("actions/upload-artifact@") for step in steps(job))


def test_the_workflow_publishes_on_a_tag_only_and_by_trusted_publishing() -> None:
    jobs = workflow()["jobs"]
    publish = jobs["publish"]
    assert set(publish["needs"]) == set(jobs) - {"publish"}
    assert "startsWith(github.ref, 'refs/tags/v')" in publish["if"]
    assert "||" not in publish["if"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    uploads = [name for name in jobs for step in steps(name) if "pypi-publish" in step.get("uses", "")]
    assert uploads == ["publish"]
    assert workflow()["on"]["push"]["tags"] == ["v*"]
    # Only this job has an identity to publish with, and no job has a password.
    assert workflow()["permissions"] == {"contents": "read"}
    assert [name for name in jobs if "permissions" in jobs[name]] == ["publish"]
    assert "secrets." not in (TREE / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_the_workflow_compares_the_tag_with_the_version_before_it_publishes() -> None:
    order = [step.get("uses", step.get("run", "")) for step in steps("publish")]
    (compared,) = (number for number, each in enumerate(order) if "GITHUB_REF_NAME#v" in each)
    assert order[compared + 1].startswith("pypa/gh-action-pypi-publish@")


def test_every_action_is_pinned_to_a_major_version_and_every_job_ends() -> None:
    for name, job in workflow()["jobs"].items():
        assert job["timeout-minutes"] > 0
        for step in steps(name):
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step.get("uses", "actions/none@v1")), step
    assert re.search(r"cibuildwheel>=(\d+),<(\d+)", commands("wheels"))


def test_the_source_distribution_has_what_its_tests_read() -> None:
    lines = (TREE / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    included = [name for line in lines if line.startswith("include ") for name in line.split()[1:]]
    grafted = [line.split()[1] for line in lines if line.startswith("graft ")]
    for name in ("SECURITY.md", "CITATION.cff", "CHANGELOG.md", "README.md", "mkdocs.yml"):
        assert any(fnmatch(name, each) for each in included), name
    assert {".github", ".ci", "tests", "docs", "csrc"} <= set(grafted)


def test_the_nine_files_that_a_new_reader_is_sent_to_are_there() -> None:
    text = (TREE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^(\d+)\. `([^`]+)`: \S", text, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 10))
    for _, path in steps:
        assert (TREE / path).is_file(), path
