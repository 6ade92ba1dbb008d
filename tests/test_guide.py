"""The guide's examples run as written: Python blocks as one program, YAML as declarations, commands against their options.

A block that cannot run here is preceded by `<!-- not run: reason -->`.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as sqlite
import numpy as np
import polars as pl
import pytest
import typer

from polyrec import Recommender
from polyrec.cli.app import app
from polyrec.core.names import FORMAT
from polyrec.serve.api import messages
from polyrec.serve.scale import Scale

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MOST_NOT_RUN = 5
FEWEST_BLOCKS = {"python": 15, "yaml": 1, "sh": 12}
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
GENERATOR = np.random.default_rng(0)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    line: int
    language: str
    text: str
    reason: str | None

    @property
    def code(self) -> Any:
        """The block's Python, compiled with the line numbers of the document."""
        return compile("\n" * self.line + self.text, "guide.md", "exec")


@cache
def blocks(path: Path, language: str) -> list[Block]:
    """Return the fenced blocks of a language, from the top."""
    document = path.read_text(encoding="utf-8")
    matches = [match for match in BLOCK.finditer(document) if match["language"] == language]
    return [Block(document[: match.start("text")].count("\n"), language, match["text"], match["reason"]) for match in matches]


def guide(language: str) -> list[Block]:
    return blocks(ROOT / "docs" / "guide.md", language)


def write_shop() -> None:
    """Write the shop of the guide: interactions of 50 users with 60 items in two logs, and both side tables."""
    rows, users, items = 1200, 50, 60
    user, item = GENERATOR.integers(users, size=rows), GENERATOR.integers(items, size=rows)
    click, cart, buy = (GENERATOR.random(rows) < share for share in (0.7, 0.7, 0.6))
    rating = np.clip(1 + (user + item) % 5 + GENERATOR.integers(-1, 2, size=rows), 1, 5)
    log = pl.DataFrame(
        {
            "user_id": user + 1,
            "item_id": [f"sku-{number + 1}" for number in item],
            "timestamp": 1_700_000_000 + 60 * np.arange(rows),
            "clicked": click,
            "carted": click & cart,
            "bought": click & cart & buy,
            "rating": rating,
        }
    )
    known_users = pl.DataFrame(
        {
            "user_id": range(1, users + 1),
            "group": ["reader", "shopper"] * (users // 2),
            "age": [20 + n % 40 for n in range(users)],
        }
    )
    known_items = pl.DataFrame(
        {
            "item_id": [f"sku-{n + 1}" for n in range(items)],
            "title": [f"title {n}" for n in range(items)],
            "genre": [("drama", "comedy", "war")[n % 3] for n in range(items)],
            "seller": [f"seller {n % 20}" for n in range(items)],
            "stock": [n % 10 for n in range(items)],
            "year": [1970 + n for n in range(items)],
        }
    )
    Path("logs").mkdir()
    log[:600].write_parquet("logs/2026-01.parquet")
    log[600:1000].write_parquet("logs/2026-02.parquet")
    test = log[1000:].join(known_users, "user_id").join(known_items, "item_id")
    test.write_parquet("test.parquet")
    test.write_parquet("held_out.parquet")
    known_users.write_csv("users.csv")
    with sqlite.connect("shop.db") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("items", known_items.to_arrow())
        connection.commit()


def unit_vectors(count: int, width: int = 16) -> np.ndarray:
    vectors = GENERATOR.normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def first_and_new_rows(names: dict[str, Any]) -> None:
    ids, times = GENERATOR.integers(20, size=400), np.arange(400)
    frame, times = pl.DataFrame({"item_id": ids}), pl.Series(times)
    names |= {"first_rows": frame[:200], "times": times[:200], "new_rows": frame[200:], "new_times": times[200:]}


def served_lists(names: dict[str, Any]) -> None:
    """Write a log of lists of one item, each drawn evenly from the three best of a user."""
    served = [
        {"request": f"{user}-{row}", "user_id": user, "item_id": key, "position": 1, "propensity": 1 / 3}
        for user in range(1, 31)
        for row, key in enumerate(names["fitted"].recommend(user_id=user, k=3)["item_id"])
    ]
    click = pl.Series("click", GENERATOR.integers(2, size=len(served)))
    pl.DataFrame(served).with_columns(click).write_parquet("served.parquet")


def ranked_candidates(names: dict[str, Any]) -> None:
    items = names["fitted"].items
    scores = np.sort(GENERATOR.random(items.height))[::-1]
    names |= {"items": items, "rows": np.arange(items.height), "scores": scores, "vectors": None, "request": 1}


def item_vectors(names: dict[str, Any]) -> None:
    users = unit_vectors(8)
    vectors = {"item_vectors": unit_vectors(600), "some_user_vectors": users, "user_vectors": users, "vector": unit_vectors(1)}
    names |= {**vectors, "allowed": np.arange(600) % 2 == 0, "path": Path("items.index")}


SUPPLIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "feature.fit(first_rows, times)": first_and_new_rows,
    'off_policy("served.parquet"': served_lists,
    "Candidates(rows, scores": ranked_candidates,
    "build_index(item_vectors": item_vectors,
}
"""What a block is given that the guide leaves to the reader, by a piece of the block."""


@dataclass(frozen=True)
class Run:
    """What the program of the guide left: its names, what it printed, the lines of the blocks that ran, its folder."""

    names: dict[str, Any]
    printed: str
    lines: list[int]
    folder: Path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run all Python blocks of the guide in order, in one namespace and a folder with the guide's tables."""
    folder = tmp_path_factory.mktemp("guide")
    run, printed = Run({}, "", [], folder), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        write_shop()
        for block in guide("python"):
            if block.reason is None:
                for piece, supply in SUPPLIES.items():
                    if piece in block.text:
                        supply(run.names)
                exec(block.code, run.names)
                run.lines.append(block.line)
    return Run(run.names, printed.getvalue(), run.lines, folder)


def test_every_python_block_runs_but_those_that_say_why_not(program: Run):
    assert program.lines == [block.line for block in guide("python") if block.reason is None]
    assert sum(block.reason is not None for block in guide("python")) <= MOST_NOT_RUN
    for piece in SUPPLIES:
        assert sum(piece in block.text for block in guide("python")) == 1, piece


def test_every_block_of_the_guide_is_of_a_language_that_is_checked():
    fences = re.findall(r"^```(\w*)$", (ROOT / "docs" / "guide.md").read_text(encoding="utf-8"), re.MULTILINE)[::2]
    assert {language: fences.count(language) for language in fences} == {name: len(guide(name)) for name in FEWEST_BLOCKS}
    assert all(len(guide(language)) >= fewest for language, fewest in FEWEST_BLOCKS.items())


def test_the_program_does_what_the_guide_says(program: Run):
    names = program.names
    assert "ndcg@10" in program.printed and "snips" in program.printed
    assert {"weight.click", "weight.buy"} <= set(names["personal"].weights_of(pl.DataFrame({"group": ["reader"]})).columns)
    assert "sku-13" not in names["items"]["item_id"][names["listed"].rows_K].to_list()
    assert names["listed"].notes == () and names["items"]["item_id"][int(names["listed"].rows_K[2])] == "sku-7"
    assert names["index"].search(names["vector"], 1).rows_QK.item() == 42
    assert names["rows"].height == 0 and Path(program.folder / "state" / "events.sqlite").is_file()


def test_yaml_blocks_are_the_declarations_that_they_show(program: Run):
    (declaration,) = [Recommender.from_yaml(block.text) for block in guide("yaml")]
    assert declaration == Recommender.from_yaml(program.folder / "recommender.yaml")


def commands(path: Path) -> list[list[str]]:
    """Return the commands of the shell blocks of a document, in words."""
    text = "".join(block.text for block in blocks(path, "sh") if block.reason is None).replace("\\\n", " ")
    words = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [[word for word in line if not re.match(r"[A-Z_]+=", word)] for line in words if line]


def check_polyrec(arguments: list[str]) -> None:
    """Parse arguments as `polyrec` does, without running the command."""
    group = typer.main.get_command(app)
    command = group.commands[arguments[0]]
    command.make_context(arguments[0], arguments[1:])


def check_curl(arguments: list[str]) -> None:
    """Check the body of a request against the model of its path."""
    (path,) = [re.fullmatch(r"localhost:8000(/\w+)", word)[1] for word in arguments if word.startswith("localhost")]
    bodies = {"/recommend": messages.RecommendRequest, "/events": messages.EventsRequest}
    bodies[path].model_validate_json(arguments[arguments.index("-d") + 1])


def check_ray(arguments: list[str]) -> None:
    """Check that the arguments of the application are fields of `Scale`."""
    assert arguments[:2] == ["run", "polyrec.serve.scale:app"]
    Scale(**dict(word.split("=", 1) for word in arguments[2:]))


def check_pytest(arguments: list[str]) -> None:
    """Check that the paths exist."""
    assert arguments[:2] == ["-m", "pytest"]
    for path in (word for word in arguments[2:] if "/" in word):
        assert (ROOT / path.partition("::")[0]).exists(), path


def check_make(arguments: list[str]) -> None:
    """Check that the targets exist."""
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(arguments) <= set(targets)


CHECKS = {"polyrec": check_polyrec, "curl": check_curl, "serve": check_ray, "python": check_pytest, "make": check_make}


@pytest.mark.parametrize("path", [ROOT / "docs" / "guide.md", ROOT / "README.md"], ids=lambda path: path.name)
def test_every_command_exists_with_its_options(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    seen = commands(path)
    assert len(seen) >= 12
    for program, *arguments in seen:
        CHECKS[Path(program).name](arguments)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path):
    """Also that the README, which an index page shows without the repository, has no relative link at all."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")) if "://" not in link]
    assert path.name != "README.md" or links == []
    for link in links:
        target, _, anchor = link.partition("#")
        document = (path.parent / target) if target else path
        assert document.exists(), link
        headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings], link


def test_the_statement_of_stability_names_the_format_of_artifacts():
    assert f"**format {FORMAT}**" in (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")


def test_the_tests_that_contributors_run_exist():
    """Every row of the table names a test of this repository."""
    named = re.findall(r"`(tests/[\w/.]+)(?: -k \w+)?`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) >= 13
    assert [path for path in named if not (ROOT / path).exists()] == []
