"""The order that links put tasks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyrec.tasks.link import Link
from polyrec.tasks.task import Task


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks such that each comes after those that it is linked to, otherwise as declared.

    Raises ValueError, naming them, for tasks that wait for one another.
    """
    ordered: list[Task] = []
    waiting = list(tasks)
    while waiting:
        done = {task.name for task in ordered}
        ready = [task for task in waiting if task.after is None or set(task.after.tasks) <= done]
        if not ready:
            raise ValueError(f"the tasks {[task.name for task in waiting]} come after one another in a circle; cut it at one")
        ordered += ready
        waiting = [task for task in waiting if task not in ready]
    return ordered


def with_earlier(task: Task, by_name: Mapping[str, Task], link: type[Link] = Link) -> tuple[str, ...]:
    """Return the task and all before it by links of a kind, each once, in the order of first mention."""
    names = [task.name]
    for name in names:
        after = by_name[name].after
        if isinstance(after, link):
            names += [earlier for earlier in after.tasks if earlier not in names]
    return tuple(names)
