"""Addresses show what they may."""

import pytest

from polyrec import UserError
from polyrec.core.address import Address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:s3cret@host:1/0", "redis://:***@host:1/0"),
        ("redis://host?password=s3cret", "redis://host?***"),
        ("postgresql://reader:a:b@s3cret@host/name", "postgresql://reader:***@host/name"),
        ("sqlite:////folder/file", "sqlite:////folder/file"),
        ("reader:s3cret@host", "***"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str):
    assert Address(text).shown == shown
    assert repr(Address(text)) == f"Address({shown!r})"


def test_a_driver_that_tells_a_secret_is_cut_short():
    address = Address("redis://:s3cret%2Fword@host?ssl_password=other")
    assert address.without_secrets(ValueError("s3cret/word, s3cret%2Fword and other")) == "***, *** and ***"
    assert address.without_secrets(ValueError()) == "ValueError"


def test_a_password_that_splits_the_address_is_refused():
    with pytest.raises(UserError, match="expected a password in percent-encoding") as caught:
        Address("redis://:s3/cret@host").check("address")
    assert "cret" not in str(caught.value)
    Address("redis://host/0?name=a@b").check("address")
