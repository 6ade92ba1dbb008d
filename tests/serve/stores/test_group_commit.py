"""Wishes of many threads: each answered once, few commits, one failure alone."""

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
