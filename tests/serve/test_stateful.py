"""Events, lists, erasures and items in any order: the server agrees with a plain model of its input."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from starlette.testclient import TestClient

from polyrec import Fitted
from polyrec.serve.app import create_app
from polyrec.serve.settings import Settings

USERS = st.sampled_from([101, 102, -5])
ITEMS = st.sampled_from([5, 12, 19, 26, 99999])
NEW = 99999


class ServerMachine(RuleBasedStateMachine):
    """A server, and its input so far."""

    artifact: ClassVar[Path]
    fitted: ClassVar[Fitted]

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        folder = Path(self.folder.name)
        server_settings = Settings(store=f"sqlite:///{folder}/events.sqlite", journal=folder / "journal", rate=1e6, burst=1e6)
        self.context = TestClient(create_app(self.artifact, server_settings), "http://localhost", raise_server_exceptions=False)
        self.client = self.context.__enter__()
        self.events: dict[int, list[dict[str, Any]]] = {}
        self.ids: dict[str, tuple[int, int]] = {}
        self.erased: set[int] = set()
        self.now, self.current, self.gone = 5000, self.fitted, False

    @rule(user=USERS, item=ITEMS, rating=st.integers(1, 5), repeated=st.booleans())
    def tell(self, user: int, item: int, rating: int, repeated: bool) -> None:
        self.now += 1
        name = next(iter(self.ids), "first") if repeated else f"e{self.now}"
        values = {"rating": rating}
        event = {"id": name, "user": str(user), "item": str(item), "type": "rate", "time": self.now, "values": values}
        answer = self.client.post("/events", json={"events": [event]})
        assert answer.status_code == 202
        assert answer.json()["new"] == int(name not in self.ids)
        if name not in self.ids:
            self.ids[name] = user, item
            self.events.setdefault(user, []).append({"item_id": item, "rating": rating, "timestamp": self.now})

    @rule(user=USERS)
    def erase(self, user: int) -> None:
        assert self.client.delete(f"/users/{user}").status_code == 204
        self.erased.add(user)
        self.events.pop(user, None)
        self.ids = {name: about for name, about in self.ids.items() if about[0] != user}

    @rule()
    def add(self) -> None:
        assert self.client.post("/items", json={"items": [{"item_id": NEW}]}).status_code == 200
        self.current, self.gone = self.fitted.with_items(pl.DataFrame({"item_id": [NEW]})), False

    @rule()
    def take_away(self) -> None:
        status = self.client.delete(f"/items/{NEW}").status_code
        assert status == (204 if NEW in self.current.items["item_id"] else 404)
        self.gone = status == 204 or self.gone

    @rule(user=USERS)
    def ask(self, user: int) -> None:
        answer = self.client.post("/recommend", json={"user": str(user), "k": 100}).json()
        events = pl.DataFrame(self.events[user]) if self.events.get(user) else None
        given = {} if user in self.erased else {"user_id": user}
        expected = self.current.recommend(k=100, events=events, **given)
        if self.gone:
            expected = expected.filter(pl.col("item_id") != NEW)
        assert [item["item"] for item in answer["items"]] == expected["item_id"].cast(pl.String).to_list()
        assert [item["score"] for item in answer["items"]] == expected["score"].to_list()
        assert ("erased user" in answer["fallback"]) == (user in self.erased)

    @invariant()
    def lives(self) -> None:
        assert self.client.get("/health").status_code == 200

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)
            self.folder.cleanup()


def test_the_server_agrees_with_what_it_was_told(artifact: Path, served: Fitted):
    ServerMachine.artifact, ServerMachine.fitted = artifact, served
    run_settings = settings(max_examples=8, stateful_step_count=15, derandomize=True)
    run_state_machine_as_test(ServerMachine, settings=run_settings)
