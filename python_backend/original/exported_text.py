"""The texts of an exported program that torch takes for Python: which of them are a graph's, and no code.

Only what `torch.export.save` writes for graphs of torch's own operators passes; anything else is for files that are
trusted. How torch reads a text is told beside each rule.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

# Variables of the Python that torch.fx generates and runs: no brackets, no quotes, no ends of lines.
_NAME = re.compile(r"[\w.@-]*")
# Sizes go through sympy's `eval`, guards through `exec`. One line of arithmetic has no other characters.
_ARITHMETIC = re.compile(r"[\w .,()\[\]'+\-*/%<>=!&|~]*")
# Symbol, Integer, FloorDiv …: the classes of sympy; of its functions, those that round.
_SYMBOLIC = re.compile(r"[A-Z]\w*|floor|ceiling")
_ROUNDING = {"max", "min", "abs", "int", "float", "round"}
_SIZES = {"size", "stride", "storage_offset"}
_SAFE = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Tuple, ast.Load, ast.keyword),
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.unaryop, ast.operator, ast.boolop, ast.cmpop),
)
# Looked up by name, and called when the model runs.
_PLAIN_OPERATOR = re.compile(
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|abs|and_|or_|not_|lshift|rshift|getitem|[lg][te]|eq|ne)"
    r"|math\.(ceil|floor|trunc|sqrt)"
    r"|torch\.sym_[a-z]+"
)
_HIGHER_ORDER = re.compile(
    r"torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|flex_attention|invoke_subgraph"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast)"
)
_OPERATOR = re.compile(r"torch\.ops\.(?!higher_order\.)\w+\.\w+\.\w+")
# The texts of a tree of tuples, lists and dictionaries; braces would name an enumeration to import.
_STRUCTURE = re.compile(r"""[\w \[\],."@-]*""")
# Tables whose keys are names that the file chooses, not fields.
_TABLES = {
    *("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values"),
    *("as_string_to_argument", "range_constraints", "opset_version", "treespec_namedtuple_fields"),
}
# Fields that nobody evaluates; texts given to an operator are, where they are given to the program they become guards.
_INERT = frozenset({"metadata", "torch_version"})
_INERT_IN_NODES = frozenset({"as_string", "as_strings"})


def code_in(program: Any, is_operator: Callable[[str], bool]) -> str | None:
    """What of a program, as its JSON has it, torch would run as code; None where it is a graph alone.

    `is_operator` tells whether a name of three parts below `torch.ops` stands for one of torch's operators.
    """
    rules: dict[str, tuple[str, Callable[[str], bool]]] = {
        "expr_str": ("a size", is_size),
        "guards_code": ("a guard", is_guard),
        "in_spec": ("a structure", is_structure),
        "out_spec": ("a structure", is_structure),
        "target": ("an operator", lambda text: _is_graph_operator(text, is_operator)),
        "as_operator": ("an operator", lambda text: _is_graph_operator(text, is_operator)),
    }
    for key, text in dict.fromkeys(_texts("", program)):
        what, harmless = rules.get(key, ("a name", is_name))
        if not harmless(text):
            return f"{what}, '{text[:80]}'"
    return None


def is_name(text: str) -> bool:
    """Whether it can only be a name."""
    return _NAME.fullmatch(text) is not None


def is_size(text: str) -> bool:
    """Whether it is arithmetic on symbols, such as `Mul(Integer(6), Symbol('s77', integer=True))`, or `2*s0`."""
    return _is_arithmetic(text, _is_symbolic)


def is_guard(text: str) -> bool:
    """Whether it compares sizes of inputs, such as `L['x'].size()[0] % 2 == 0`."""
    return _is_arithmetic(text, _is_of_a_guard)


def is_structure(text: str) -> bool:
    """Whether it is a tree of tuples, lists and dictionaries, and imports nothing by name."""
    try:
        tree = json.loads(text)
    except ValueError:
        return False
    return all(_STRUCTURE.fullmatch(found) for _, found in _texts("", tree)) and _has_flat_contexts(tree)


def _has_flat_contexts(tree: Any) -> bool:
    if isinstance(tree, list):
        return all(map(_has_flat_contexts, tree))
    if not isinstance(tree, dict):
        return True
    context = tree.get("context")
    return (context is None or isinstance(context, str)) and _has_flat_contexts(tree.get("children_spec", []))


def _is_graph_operator(text: str, is_operator: Callable[[str], bool]) -> bool:
    known = _PLAIN_OPERATOR.fullmatch(text) or _HIGHER_ORDER.fullmatch(text)
    return bool(known) or (_OPERATOR.fullmatch(text) is not None and is_operator(text))


def _is_arithmetic(text: str, special: Callable[[ast.AST], bool]) -> bool:
    """Whether all of an expression is arithmetic, or what `special` knows."""
    if not _ARITHMETIC.fullmatch(text):
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    # A text that nests too deeply is no size of a tensor.
    except (SyntaxError, RecursionError, MemoryError):
        return False
    return all(special(node) or (isinstance(node, _SAFE) and _is_plain(node)) for node in nodes)


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or is_name(node.value)
    return not (isinstance(node, ast.Name) and node.id.startswith("__"))


def _is_symbolic(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Name) and _SYMBOLIC.fullmatch(called.id) is not None


def _is_of_a_guard(node: ast.AST) -> bool:
    """An input or its size by index, and calls of what gives or rounds numbers."""
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in ("math", "torch"):
            return not node.attr.startswith("_") and (node.value.id == "math" or node.attr.startswith("sym_"))
        return node.attr in _SIZES
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) or (isinstance(node.func, ast.Name) and node.func.id in _ROUNDING)
    return isinstance(node, ast.Subscript)


def _texts(key: str, value: Any, inert: frozenset[str] = _INERT) -> Iterator[tuple[str, str]]:
    """Every text that is not inert, with the field that it stands in; keys are names, which stand in none."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(key, each, inert)
    elif isinstance(value, dict):
        for inner, each in value.items():
            yield "", inner
            field = "" if key in _TABLES else inner
            if field not in inert:
                yield from _texts(field, each, inert | _INERT_IN_NODES if field == "nodes" else inert)
