"""Arithmetic over named numbers: a subset of Python expressions, parsed by Python's parser but not evaluated by Python.

Shape letters: B rows.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce

import torch
from torch import Tensor

from polyrec.core.errors import nearest
from polyrec.layers.sigmoid import sigmoid

LONGEST, DEEPEST, HIGHEST_POWER = 1000, 40, 64
"""Maximum number of characters of an expression, nested operations, and absolute value of a literal power."""


def _clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x, low), high)


OPERATIONS: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
    ast.Pow: torch.pow,
}

FUNCTIONS: dict[str, tuple[int | None, Callable[..., Tensor]]] = {
    "min": (None, lambda *values: reduce(torch.minimum, values)),
    "max": (None, lambda *values: reduce(torch.maximum, values)),
    "log": (1, torch.log),
    "log1p": (1, torch.log1p),
    "exp": (1, torch.exp),
    "sqrt": (1, torch.sqrt),
    "abs": (1, torch.abs),
    "clip": (3, _clip),
    "sigmoid": (1, sigmoid),
}
"""Functions that an expression may call, with their number of arguments; None means two or more."""


@lru_cache(maxsize=256)
def parse(text: str) -> ast.expr:
    """Return the validated syntax tree of an expression.

    Raises `ValueError` that names the part that is not a number, name (quoted or not), operation or function call, or that
    exceeds the maximum length, depth or power.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters, this one has {len(text):,}")
    text = text.strip().replace("\n", " ")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} cannot be parsed: {getattr(error, 'msg', error)}") from error
    _check(tree, text, 1)
    return tree


def names_in(tree: ast.expr) -> tuple[str, ...]:
    """Return the names that an expression reads, without duplicates, in order."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = sorted(
        (node.lineno, node.col_offset, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and id(node) not in called and (name := _name(node)) is not None
    )
    return tuple(dict.fromkeys(name for *_, name in names))


def evaluate(tree: ast.expr, values: Mapping[str, Tensor]) -> Tensor:
    """Return the value of a validated expression in double precision: (B,), or () for an expression without rows."""
    name = _name(tree)
    if name is not None:
        return values[name]
    match tree:
        case ast.Constant(value=int() | float() as value):
            return torch.tensor(float(value), dtype=torch.float64)
        case ast.UnaryOp(operand=operand):
            return -evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATIONS[type(op)](evaluate(left, values), evaluate(right, values))
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return FUNCTIONS[function][1](*(evaluate(argument, values) for argument in arguments))
    raise AssertionError(f"{ast.dump(tree)} was not validated")


def _name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Constant(value=str(name)):
            return name
    return None


def _check(node: ast.expr, text: str, depth: int) -> None:
    piece = ast.get_source_segment(text, node) or text
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} operations are nested at {piece!r}")
    parts: list[ast.expr] = []
    match node:
        case ast.Name() | ast.Constant(value=str()):
            pass
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not _is_finite(value):
                raise ValueError(f"{piece!r} is not a finite number")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            power = _number(right) if isinstance(op, ast.Pow) else None
            if power is not None and abs(power) > HIGHEST_POWER:
                raise ValueError(f"the power in {piece!r} is higher than {HIGHEST_POWER}")
            parts = [left, right]
        case ast.Call(func=ast.Name(id=function), args=parts, keywords=[]):
            if function not in FUNCTIONS:
                raise ValueError(f"{function!r} in {piece!r} is not a function of formulas. {nearest(function, FUNCTIONS)}")
            wanted = FUNCTIONS[function][0]
            if len(parts) < 2 if wanted is None else len(parts) != wanted:
                raise ValueError(f"{function} takes {wanted or '2 or more'} arguments, not {len(parts)}, in {piece!r}")
        case _:
            allowed = f"numbers, names, + - * / ** and the functions {', '.join(FUNCTIONS)}"
            raise ValueError(f"{piece!r} is not allowed in a formula, which may contain {allowed}")
    for part in parts:
        _check(part, text, depth + 1)


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value) if _is_finite(value) else math.inf
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _number(operand)
    return None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
