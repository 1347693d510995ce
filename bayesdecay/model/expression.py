"""What a formula may say: columns, a few functions of one column, arithmetic; read before anything is evaluated.

In: the right side of a formula. Out: its terms, checked. Formulaic evaluates a term as Python, and the terms of a saved
fit come from a file that somebody else may have made, so whatever is not listed here is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

import formulaic
import numpy as np

__all__ = ["FUNCTIONS", "INTERCEPT", "columns_of", "read_terms", "written"]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {"log1p": np.log1p, "log": np.log, "sqrt": np.sqrt, "exp": np.exp}
INTERCEPT = "1"
# formulaic's own name for "as it stands"; it has no effect beside that of a bracket.
_CALLED = {*FUNCTIONS, "I"}
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_QUOTED = re.compile(r"`([^`]*)`")


def read_terms(text: str) -> formulaic.SimpleFormula:
    """Read and check the right side of a formula.

    Raises
    ------
    ValueError
        If it cannot be read, or a term is more than columns, the functions above and arithmetic.
    """
    try:
        formula = formulaic.Formula(text, _ordering="none")
    except Exception as error:  # the parser fails in ways of its own: "(]" is an AttributeError
        # The reason stands on the first line; below it the parser draws in colours, which only a terminal shows.
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the formula {text!r} cannot be read: {reason}") from error
    if not isinstance(formula, formulaic.SimpleFormula):
        raise ValueError(f"the formula {text!r} has a second '~' or a '|' outside brackets; write its terms with '+'")
    for factor in _factors(formula):
        if factor.eval_method.value == "python":
            _names(factor.expr)
    return formula


def columns_of(formula: formulaic.SimpleFormula) -> set[str]:
    """Names of all columns that the terms use."""
    found: set[str] = set()
    for factor in _factors(formula):
        if factor.eval_method.value == "lookup":
            found.add(factor.expr)
        elif factor.eval_method.value == "python":
            found |= _names(factor.expr)
    return found


def written(terms: Iterable[Any]) -> str:
    """Write terms so that :func:`read_terms` reads the same ones again."""
    return " + ".join(":".join(map(_factor_text, term.factors)) for term in terms)


def _factors(formula: formulaic.SimpleFormula) -> list[Any]:
    return [factor for term in formula for factor in term.factors]


def _factor_text(factor: Any) -> str:
    if factor.eval_method.value == "lookup":
        return factor.expr if factor.expr.isidentifier() else f"`{factor.expr}`"
    if factor.eval_method.value == "literal" or isinstance(_tree(factor.expr)[0], ast.Call):
        return factor.expr
    return f"{{{factor.expr}}}"


def _names(expression: str) -> set[str]:
    """Names of the columns in an expression that formulaic would evaluate as Python, after checking it."""
    tree, quoted = _tree(expression)
    return {quoted.get(name, name) for name in _checked(tree, expression)}


def _tree(expression: str) -> tuple[ast.expr, dict[str, str]]:
    """Syntax tree of an expression, and the names in backticks by what stands for them in the tree."""
    if any(mark in expression for mark in "'\"\\"):
        raise _refused(expression, "quotation marks or a backslash")
    quoted = {f"column_{i}_": name for i, name in enumerate(_QUOTED.findall(expression))}
    places = iter(quoted)
    try:
        return ast.parse(_QUOTED.sub(lambda _: f" {next(places)} ", expression).strip(), mode="eval").body, quoted
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the term {expression!r} of the formula cannot be read") from error


def _checked(node: ast.AST, expression: str) -> set[str]:
    """Names of the columns below a node; everything that is not listed here is refused."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return set()
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CALLED:
            return _checked(argument, expression)
        # A power of numbers alone could take for ever: 9**9**9.
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant()) if names := _checked(left, expression):
            return names | _checked(node.right, expression)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC) and not isinstance(op, ast.Pow):
            return _checked(left, expression) | _checked(right, expression)
        case ast.UnaryOp(op=op, operand=operand) if isinstance(op, _ARITHMETIC):
            return _checked(operand, expression)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if isinstance(op, _COMPARISONS):
            return _checked(left, expression) | _checked(right, expression)
    raise _refused(expression, repr(ast.unparse(node)))


def _refused(expression: str, what: str) -> ValueError:
    return ValueError(
        f"the term {expression!r} of the formula has {what}; a term is made of columns, numbers, + - * / **, "
        f"comparisons and {', '.join(FUNCTIONS)} of one thing (features are standardised inside, and text columns are "
        "categories by themselves); make anything else a column beforehand"
    )
