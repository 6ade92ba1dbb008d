"""Addresses of databases, with secrets hidden in errors, logs and `repr`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from polyrec.core.errors import UserError

_PASSWORD = re.compile(r"(://[^:/@]*:)(.*)@")
_NO_CREDENTIALS = re.compile(r"[a-z]+://[^@?]*/[^@?]*(\?.*)?")


@dataclass(frozen=True, repr=False)
class Address:
    """An address `scheme://user:password@host:port/name?parameters`, or `scheme:///path` of a file."""

    text: str

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @property
    def scheme(self) -> str:
        """The part before `://`; empty if there is none."""
        scheme, separator, _ = self.text.partition("://")
        return scheme if separator else ""

    @property
    def path(self) -> str:
        """The path of a file: the part after `:///`."""
        return self.text.partition(":///")[2]

    @property
    def shown(self) -> str:
        """The address without its password and parameters."""
        if "://" not in self.text:
            return "***"
        return re.sub(r"\?.*", "?***", _PASSWORD.sub(r"\1***@", self.text))

    def without_secrets(self, message: object) -> str:
        """Return a driver's message with secrets replaced by `***`; the class name of the error if the message is empty."""
        match = _PASSWORD.search(self.text)
        secrets = {match[2], unquote(match[2])} if match else set()
        secrets |= {value for key, value in parse_qsl(self.text.partition("?")[2]) if "password" in key.lower()}
        text = str(message).strip()
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text or type(message).__name__

    def check(self, thing: str) -> None:
        """Raise `UserError` if the password contains '/' or '@': drivers would print a part of it as the host."""
        match = _PASSWORD.search(self.text)
        if match and re.search("[/@]", match[2]) and not _NO_CREDENTIALS.fullmatch(self.text):
            raise UserError(
                f"{thing}, {self.shown!r}",
                expected="a password in percent-encoding",
                found="a '/' or '@' in it",
                remedy="Write '/' as %2F and '@' as %40 there.",
            )
