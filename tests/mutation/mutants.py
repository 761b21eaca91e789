"""Mutants of a module, by mutmut's operators and three more.

mutmut itself leaves out decorated classes, properties and constants, so only its operators are used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

ALIASES = ("Callable", "Mapping", "dict", "list", "tuple")
"""Generic types. Annotations alone use their aliases."""
UNTESTABLE = (
    m.Annotation()
    | m.Assert()  # narrows types
    | m.Assign(value=m.Call(func=m.Name("TypeVar") | m.Name("ParamSpec") | m.Name("Logger")))
    | m.Assign(value=m.Call(func=m.Attribute(attr=m.Name("TypeVar"))))
    | m.Assign(value=m.Subscript(value=m.OneOf(*map(m.Name, ALIASES))))
    # Only PynamoDB's own requests use these two, and none is made.
    | m.Arg(keyword=m.Name("null"))
    | m.Assign(targets=[m.AssignTarget(target=m.Name("table_name"))])
    | m.Call(func=m.Name("isinstance"))
    | m.Decorator(decorator=m.Call(func=m.Name("dataclass")))  # frozen: nothing tries to change it
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.Import()
    | m.ImportFrom()
)


@dataclass(frozen=True)
class Mutant:
    """A module with one change. Equal changes of equal lines of a function are one mutant."""

    function: str
    diff: str
    source: str
    lines: range
    """The lines of the changed statement."""

    def __str__(self) -> str:
        return f"{self.function}\n{self.diff}"


def mutants_of(source: str) -> list[Mutant]:
    """Return the mutants of a module, each once."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor()
    wrapper.visit(visitor)
    found: dict[str, Mutant] = {}
    for node, mutated_node, function, lines in visitor.found:
        module = wrapper.module.deep_replace(node, mutated_node)
        assert isinstance(module, cst.Module)
        changes = difflib.unified_diff(source.splitlines(), module.code.splitlines(), n=0)
        diff = "\n".join(f"{c[0]} {c[1:].strip()}" for c in list(changes)[2:] if c[0] in "+-")
        mutant = Mutant(function, diff, module.code, lines)
        found.setdefault(str(mutant), mutant)
    return [mutant for mutant in found.values() if mutant.diff]


def _mutations(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutators.mutation_operators:
        if isinstance(node, kind):
            mutated = list(operator(node))
            if operator is mutators.operator_string:
                mutated = mutated[:1]  # the others are in capitals and in small letters
            elif operator is mutators.operator_arg_removal and isinstance(node, cst.Call):
                kept = [a for a in node.args if m.matches(a, UNTESTABLE) or _is_message(a.value)]
                mutated = [c for c in mutated if all(any(a is k for a in c.args) for k in kept)]  # type: ignore[attr-defined]
            yield from mutated
    if m.matches(node, m.Expr(value=m.Call()) | m.Del() | m.Raise(exc=None)):
        yield cst.Pass()
    elif isinstance(node, cst.Return) and not m.matches(node, m.Return(value=None)):
        yield node.with_changes(value=cst.Name("None"))
    elif isinstance(node, cst.If | cst.IfExp | cst.CompIf | cst.While) and not m.matches(
        node.test, m.Comparison() | m.UnaryOperation()
    ):
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


def _is_message(node: cst.CSTNode) -> bool:
    """Return whether the node is a text with a space, which is for people."""
    texts = cst.SimpleString | cst.FormattedString | cst.ConcatenatedString
    return isinstance(node, texts) and " " in cst.Module([]).code_for_node(node)


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str, range]] = []
        self._names: list[str] = []
        self._statement: range | None = None

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, UNTESTABLE) or _is_message(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        position = self.get_metadata(PositionProvider, node, None)
        lines = range(position.start.line, position.end.line + 1) if position else range(0)
        if isinstance(node, cst.SimpleStatementLine):
            self._statement = lines
        name = ".".join(self._names) or "(module)"
        self.found += [(node, new, name, self._statement or lines) for new in _mutations(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()
        elif isinstance(original_node, cst.SimpleStatementLine):
            self._statement = None
