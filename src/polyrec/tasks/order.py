"""The order of tasks by their links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyrec.tasks.link import Link
from polyrec.tasks.task import Task


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks in topological order of their links, otherwise as declared.

    Raises `ValueError` with the names of the tasks that form a cycle.
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
    """Return the task and all its predecessors by links of a kind, each once, in the order of first mention."""
    names = [task.name]
    for name in names:
        after = by_name[name].after
        if isinstance(after, link):
            names += [earlier for earlier in after.tasks if earlier not in names]
    return tuple(names)
