"""Bytes that say whether they were altered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrec.core.database import sealed, unsealed


@given(content=st.binary())
def test_what_was_sealed_comes_back(content: bytes):
    assert unsealed(sealed(content)) == content


@given(content=st.binary(min_size=1), data=st.data())
def test_one_flipped_bit_is_seen(content: bytes, data: st.DataObject):
    stored = bytearray(sealed(content))
    bit = data.draw(st.integers(0, 8 * len(stored) - 1))
    stored[bit // 8] ^= 1 << bit % 8
    assert unsealed(bytes(stored)) is None


@pytest.mark.parametrize("stored", [b"", b"ab", b"abcd"])
def test_what_was_never_sealed_is_seen(stored: bytes):
    assert unsealed(stored) is None
