"""Wishes of many threads: each answered once, few commits, one failure alone."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from polyrec.serve.stores.group_commit import GroupCommit


def test_each_write_gets_its_result_and_commits_are_shared():
    groups: list[int] = []

    def commit(writes: Sequence[int]) -> list[int]:
        groups.append(len(writes))
        time.sleep(0.005)
        return [2 * write for write in writes]

    group = GroupCommit(commit)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(group, range(200))) == [2 * write for write in range(200)]
    assert sum(groups) == 200
    assert len(groups) < 150


def test_a_write_that_cannot_be_done_fails_alone():
    done: list[int] = []

    def commit(writes: Sequence[int]) -> list[int]:
        time.sleep(0.005)
        if 7 in writes:
            raise ValueError("seven")
        done.extend(writes)
        return list(writes)

    group = GroupCommit(commit)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(group, write) for write in range(16)]
    with pytest.raises(ValueError, match="seven"):
        futures[7].result()
    assert sorted(done) == [write for write in range(16) if write != 7]


def test_a_common_error_fails_all_waiting_writes_at_once():
    groups: list[int] = []
    others_wait = threading.Event()

    def commit(writes: Sequence[int]) -> list[int]:
        groups.append(len(writes))
        assert others_wait.wait(30)
        if 0 in writes:
            raise TimeoutError("locked")
        return list(writes)

    group = GroupCommit(commit, TimeoutError)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(group, 0)]
        while not groups:
            time.sleep(0.001)
        futures += [threads.submit(group, write) for write in range(1, 8)]
        while len(group._queue) < 7:
            time.sleep(0.001)
        others_wait.set()
        for future in futures:
            with pytest.raises(TimeoutError, match="locked"):
                future.result()
    assert groups == [1]
    assert group(3) == 3


def test_a_group_with_an_error_of_all_is_not_tried_one_by_one():
    groups: list[int] = []
    others_wait = threading.Event()

    def commit(writes: Sequence[int]) -> list[int]:
        groups.append(len(writes))
        assert others_wait.wait(30)
        if len(groups) > 1:
            raise TimeoutError("locked")
        return list(writes)

    group = GroupCommit(commit, TimeoutError)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(group, 0)
        while not groups:
            time.sleep(0.001)
        futures = [threads.submit(group, write) for write in range(1, 5)]
        while len(group._queue) < 4:
            time.sleep(0.001)
        others_wait.set()
        assert first.result() == 0
        for future in futures:
            with pytest.raises(TimeoutError, match="locked"):
                future.result()
    assert groups == [1, 4]
