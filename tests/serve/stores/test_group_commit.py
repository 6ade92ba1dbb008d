"""Wishes of many threads: each answered once, few commits, one failure alone."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from polyrec.serve.stores.group_commit import GroupCommit


def test_each_wish_gets_its_own_answer_and_commits_are_shared():
    groups: list[int] = []

    def commit(wishes: Sequence[int]) -> list[int]:
        groups.append(len(wishes))
        time.sleep(0.005)
        return [2 * wish for wish in wishes]

    group = GroupCommit(commit)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(group, range(200))) == [2 * wish for wish in range(200)]
    assert sum(groups) == 200
    assert len(groups) < 150


def test_a_wish_that_cannot_be_done_fails_alone():
    done: list[int] = []

    def commit(wishes: Sequence[int]) -> list[int]:
        time.sleep(0.005)
        if 7 in wishes:
            raise ValueError("seven")
        done.extend(wishes)
        return list(wishes)

    group = GroupCommit(commit)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(group, wish) for wish in range(16)]
    with pytest.raises(ValueError, match="seven"):
        futures[7].result()
    assert sorted(done) == [wish for wish in range(16) if wish != 7]


def test_an_error_of_all_is_told_to_all_who_wait_at_once():
    groups: list[int] = []
    others_wait = threading.Event()

    def commit(wishes: Sequence[int]) -> list[int]:
        groups.append(len(wishes))
        assert others_wait.wait(30)
        if 0 in wishes:
            raise TimeoutError("locked")
        return list(wishes)

    group = GroupCommit(commit, TimeoutError)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(group, 0)]
        while not groups:
            time.sleep(0.001)
        futures += [threads.submit(group, wish) for wish in range(1, 8)]
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

    def commit(wishes: Sequence[int]) -> list[int]:
        groups.append(len(wishes))
        assert others_wait.wait(30)
        if len(groups) > 1:
            raise TimeoutError("locked")
        return list(wishes)

    group = GroupCommit(commit, TimeoutError)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(group, 0)
        while not groups:
            time.sleep(0.001)
        futures = [threads.submit(group, wish) for wish in range(1, 5)]
        while len(group._queue) < 4:
            time.sleep(0.001)
        others_wait.set()
        assert first.result() == 0
        for future in futures:
            with pytest.raises(TimeoutError, match="locked"):
                future.result()
    assert groups == [1, 4]
