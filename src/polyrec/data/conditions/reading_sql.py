"""Checks SQL expressions before polars sees them: only columns, values, operators and the functions listed here pass.

The SQL of polars plans subqueries, reads files and creates text of any length. Expressions arrive in requests and in models
from other people, so each is split into words and rebuilt: every word that is not in these lists is a column.
"""

from __future__ import annotations

import re
from itertools import pairwise

from polyrec.core.errors import UserError, nearest

LONGEST, MOST_WORDS, MOST_SUMS, DEEPEST = 4000, 500, 16, 16
"""Limits of an expression: characters, words and signs, plus signs (a sum of texts is as long as all of them together), and
nested parentheses."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words(
    """
    abs acos array_contains array_get array_length array_mean array_sum asin atan cast cbrt ceil ceiling char_length
    character_length coalesce cos cot date date_part datetime day dayofmonth dayofweek dayofyear degrees div ends_with exp
    extract floor greatest hour if ifnull initcap least left length ln log log10 log1p log2 lower ltrim minute mod month nullif
    octet_length pi position pow power quarter radians right round rtrim second sign sin sqrt starts_with strpos strptime substr
    substring tan timestamp trim trunc truncate try_cast upper week year
    """
)
"""Functions that may be called. Each works on one row, reads no file, and returns no text longer than its arguments. `atan2` is
left out: in polars 2.1 it ends the process if a column is not float."""

TYPES = _words(
    """
    bool boolean tinyint smallint int integer bigint int2 int4 int8 int16 int32 int64 utinyint usmallint uinteger ubigint uint8
    uint16 uint32 uint64 float float4 float8 real double decimal numeric char varchar text string date time timestamp datetime
    """
)
"""Types that a value may be cast to."""

_QUERIES = _words(
    """
    select from with exists union intersect except values table join where group order having limit lateral insert update delete
    create drop copy over
    """
)
"""Words that turn an expression into a query."""

_OPERATORS = _words("and or xor in between like ilike then else when is end")
"""Words that may follow a value."""

_LITERALS = _words("date time timestamp datetime interval")
"""Words that give the type of the quoted text right after them."""

_EXAMPLE = "Write a column or an expression such as 'rating >= 4'."

_WORD = re.compile(
    r"""\s*(?:(?P<value>'(?:[^']|'')*'|"(?:[^"]|"")+"|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<other>--|/\*|\*/|\|\|)|(?P<name>[^\W\d]\w*)|(?P<sign><=>|<=|>=|<>|!=|==|//|::|[=<>+\-*/%&|.(),])
    |(?P<rest>\S))""",
    re.VERBOSE,
)


def read_sql(sql: str, thing: str) -> str:
    """Return a SQL expression with every column in quotes; `thing` names it in errors.

    Raises `UserError` if it holds anything but columns, values, operators and the entries of `FUNCTIONS` and `TYPES`, or if it
    exceeds a limit.
    """
    _check_size(thing, len(sql), LONGEST, "characters")
    words = [(match.lastgroup or "", match[match.lastgroup or 0]) for match in _WORD.finditer(sql.rstrip())]
    _check_size(thing, len(words), MOST_WORDS, "words and signs")
    _check_size(thing, sum(word == "+" for _, word in words), MOST_SUMS, "plus signs")
    reading = _Reading(thing)
    for (kind, word), (_, after) in pairwise([*words, ("", "")]):
        reading.take(kind, word, after)
    return reading.end()


class _Reading:
    """The state of reading an expression: the words written so far, and whether a value must come next."""

    def __init__(self, thing: str) -> None:
        self.thing = thing
        self.written: list[str] = []
        self.open: list[str] = []
        """The function of each open parenthesis; empty for a plain parenthesis."""
        self.before, self.needs_value = "", True

    def take(self, kind: str, word: str, after: str) -> None:
        """Read a word; `after` is the next one."""
        lower = word.lower()
        if kind in ("other", "rest"):
            remedy = "Use columns, values, operators and functions such as LOWER; comments, brackets and || are not allowed."
            raise self._error("columns, values and operators", word, remedy)
        if self.before in ("as", "::"):
            if lower not in TYPES:
                raise self._error("a type to cast to", word, nearest(word, TYPES))
            self._put(lower, "type", needs_value=False)
        elif kind == "value":
            self._put_value(word)
        elif kind == "sign":
            self._take_sign(word)
        elif self.before == "extract(" and re.fullmatch("[a-z]{1,20}", lower) and after.lower() == "from":
            self._put(lower, "part", needs_value=False)
        elif lower == "from" and self.before in ("part", "distinct"):
            self._put(lower, lower, needs_value=True)
        elif lower in _QUERIES:
            remedy = "An expression only computes over columns. Put a column of that name in double quotes."
            raise self._error("an expression without a query", word, remedy)
        elif self.needs_value:
            self._take_operand(word, lower, after)
        else:
            self._take_operator(word, lower, after)

    def end(self) -> str:
        """Return the rebuilt expression; raise `UserError` if it is incomplete."""
        if self.needs_value or self.open:
            raise self._odd("")
        return " ".join(self.written)

    def _take_operand(self, word: str, lower: str, after: str) -> None:
        is_start = lower in ("not", "case") or (lower == "when" and self.before == "case")
        if after == "(" and not is_start:
            if lower not in FUNCTIONS:
                raise self._error("an allowed function", word, nearest(word, FUNCTIONS))
            self._put(lower, lower, needs_value=True)
        elif is_start or (lower in _LITERALS and after.startswith("'")) or (lower == "distinct" and after.lower() == "from"):
            self._put(lower, lower, needs_value=True)
        elif lower in ("null", "true", "false"):
            self._put(lower, "value", needs_value=False)
        else:
            self._put_value(f'"{word}"')

    def _take_operator(self, word: str, lower: str, after: str) -> None:
        is_cast = lower == "as" and self.open and self.open[-1] in ("cast", "try_cast")
        is_not = lower == "not" and after.lower() in ("in", "between", "like", "ilike")
        if not (lower in _OPERATORS or is_cast or is_not):
            raise self._error("an operator", word, nearest(word, _OPERATORS))
        self._put(lower, lower, needs_value=not is_not and lower != "end")

    def _take_sign(self, sign: str) -> None:
        is_value_next = sign in ("(", "+", "-") or (sign == ")" and self.before == "pi(")
        if self.needs_value != is_value_next and not (sign in ("+", "-") and not self.needs_value):
            raise self._odd(sign)
        if sign == "(":
            called = self.before if self.before in FUNCTIONS else ""
            self.open.append(called)
            _check_size(self.thing, len(self.open), DEEPEST, "nested parentheses")
            self._put(sign, f"{called}(", needs_value=True)
        elif sign == ")":
            if not self.open:
                raise self._odd(sign)
            self.open.pop()
            self._put(sign, sign, needs_value=False)
        else:
            self._put(sign, sign, needs_value=True)

    def _put_value(self, word: str) -> None:
        if not self.needs_value:
            raise self._odd(word)
        self._put(word, "value", needs_value=False)

    def _put(self, word: str, what: str, *, needs_value: bool) -> None:
        self.written.append(word)
        self.before, self.needs_value = what, needs_value

    def _odd(self, found: str) -> UserError:
        if self.needs_value:
            return self._error("a SQL expression with a value at this point", found, _EXAMPLE)
        what = "an operator or the end" if not self.open else "an operator or a closing parenthesis"
        return self._error(f"a SQL expression with {what} at this point", found, _EXAMPLE)

    def _error(self, expected: str, found: str, remedy: str) -> UserError:
        word = f"{found!r:.80}" if found else "the end"
        place = f" after {' '.join(self.written[-4:])!r:.80}" if self.written else ""
        return UserError(self.thing, expected=expected, found=word + place, remedy=remedy)


def _check_size(thing: str, size: int, most: int, what: str) -> None:
    if size > most:
        expected, remedy = f"an expression of at most {most:,} {what}", "Write a shorter expression."
        raise UserError(thing, expected=expected, found=f"{size:,}", remedy=remedy)
