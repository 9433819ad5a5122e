"""Small faults to put into a source file, one at a time: what tests should notice.

Docstrings, annotations, imports, decorators, assertions and what is raised are left alone, as are faults that could
not run at all (a name that is used and no longer bound).
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_COMPARISONS = {
    "<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",), "!=": ("==",),
    "is": ("is not",), "is not": ("is",), "in": ("not in",), "not in": ("in",),
}  # fmt: skip
_ARITHMETIC = {
    "+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "//", "**": "*", "&": "|", "|": "&", "<<": ">>",
    ">>": "<<", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "|=": "&=", "&=": "|=",
}  # fmt: skip
_SYMBOLS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.LShift: "<<", ast.RShift: ">>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is", ast.IsNot: "is not", ast.In: "in",
    ast.NotIn: "not in", ast.And: "and", ast.Or: "or",
}  # fmt: skip
_TWINS = (
    ("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("minimum", "maximum"), ("floor", "ceil"),
    ("any", "all"), ("sum", "mean"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("triu", "tril"),
    ("nanmin", "nanmax"), ("softmax", "log_softmax"), ("clamp_min", "clamp_max"), ("mean", "median"),
)  # fmt: skip
_CALLS = {one: other for a, b in reversed(_TWINS) for one, other in ((a, b), (b, a))} | {"median": "mean"}
_LEFT_OUT = {"relu", "detach", "clamp", "sqrt", "rsqrt", "square", "flip", "exp", "log", "round", "abs", "clip"}
"""Methods that keep the shape: `x.relu()` becomes `x`."""


@dataclass(frozen=True)
class Mutant:
    """One fault: bytes `start` to `end` of a file become `text`; `what` says it in short."""

    line: int
    start: int
    end: int
    text: str
    what: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def choice_groups(sources: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every word that some `Literal[...]` of the sources lists → the other words of such lists."""
    others: dict[str, dict[str, None]] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
                words = [part.value for part in ast.walk(node.slice) if isinstance(part, ast.Constant)]
                for word in words:
                    if isinstance(word, str):
                        found = others.setdefault(word, {})
                        found |= dict.fromkeys(one for one in words if isinstance(one, str) and one != word)
    return {word: tuple(found) for word, found in others.items() if found}


def mutants(source: str, choices: Mapping[str, tuple[str, ...]]) -> list[Mutant]:
    """All faults that this module knows, in the order of the file; each gives another program that compiles."""
    tree = ast.parse(source)
    found = []
    for mutant in _Finder(source, choices).visit_all(tree):
        changed = mutant.apply(source.encode()).decode()
        try:
            if ast.dump(ast.parse(changed)) != ast.dump(tree):
                found.append(mutant)
        except SyntaxError:
            continue
    return sorted(set(found), key=lambda one: (one.start, one.end, one.text))


class _Finder:
    def __init__(self, source: str, choices: Mapping[str, tuple[str, ...]]) -> None:
        self.source, self.choices = source.encode(), choices
        self.starts = [0]
        for line in self.source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def visit_all(self, node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef):
            yield from self._function(node)
            bound = frozenset(argument.arg for argument in [*node.args.args, *node.args.kwonlyargs])
        elif isinstance(node, ast.stmt):
            yield from self._statement(node, bound)
        elif isinstance(node, ast.expr):
            yield from self._expression(node)
        elif isinstance(node, ast.comprehension):
            for condition in node.ifs:
                yield self._swap(condition, "True", f"if {self._text(condition)} → True")
        for child in _children(node):
            yield from self.visit_all(child, bound)
            bound |= _bound_by(child)

    def _text(self, node: ast.AST) -> str:
        return self.source[self._start(node) : self._end(node)].decode()

    def _start(self, node: ast.AST) -> int:
        return self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _swap(self, node: ast.AST, text: str, what: str) -> Mutant:
        line: int = node.lineno  # type: ignore[attr-defined]
        return Mutant(line, self._start(node), self._end(node), text, " ".join(what.split())[:90])

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Mutant:
        """Another operator in the gap between two operands."""
        first = self._end(left)
        gap = self.source[first : self._start(right)].decode()
        place = first + len(gap[: gap.index(old)].encode())
        line = self.source.count(b"\n", 0, place) + 1
        shown = self.source[self.starts[line - 1] : self.starts[line]].decode().strip()
        return Mutant(line, place, place + len(old), new, f"{old} → {new} in {shown}"[:90])

    def _function(self, node: ast.FunctionDef) -> Iterator[Mutant]:
        """Returns at once an argument of the type that it is to return."""
        first = next((one for one in node.body if not _is_docstring(one)), None)
        if first is None or node.returns is None or isinstance(first, ast.Return):
            return
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            if argument.annotation is not None and ast.dump(argument.annotation) == ast.dump(node.returns):
                indent = "\n" + " " * first.col_offset
                text = f"return {argument.arg}{indent}{self._text(first)}"
                yield self._swap(first, text, f"{node.name} returns {argument.arg} at once")

    def _statement(self, node: ast.stmt, bound: frozenset[str]) -> Iterator[Mutant]:
        if isinstance(node, ast.If | ast.While):
            for value in ("True", "False"):
                if not (isinstance(node, ast.While) and value == "True"):
                    yield self._swap(node.test, value, f"if {self._text(node.test)} → {value}")
        if isinstance(node, ast.AugAssign):
            old = f"{_SYMBOLS.get(type(node.op), '@')}="
            if old in _ARITHMETIC:
                yield self._between(node.target, node.value, old, _ARITHMETIC[old])
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        again = all(
            isinstance(target, ast.Subscript) or (isinstance(target, ast.Name) and target.id in bound)
            for target in targets
        )
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        called = called and "super()" not in self._text(node)
        if called or (again and isinstance(node, ast.Assign | ast.AugAssign)) or isinstance(node, ast.For):
            yield self._swap(node, "pass", f"without {self._text(node)}")

    def _expression(self, node: ast.expr) -> Iterator[Mutant]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
                    old = _SYMBOLS[type(operator)]
                    yield from (self._between(left, right, old, new) for new in _COMPARISONS[old])
            case ast.BinOp() if (old := _SYMBOLS.get(type(node.op), "@")) in _ARITHMETIC:
                yield self._between(node.left, node.right, old, _ARITHMETIC[old])
            case ast.BoolOp():
                old = _SYMBOLS[type(node.op)]
                yield self._between(*node.values[:2], old, "or" if old == "and" else "and")
            case ast.UnaryOp():
                yield self._swap(node, f"({self._text(node.operand)})", f"{self._text(node)} without its sign")
            case ast.IfExp():
                for value in ("True", "False"):
                    yield self._swap(node.test, value, f"if {self._text(node.test)} → {value}")
            case ast.Constant():
                for new in _other_values(node.value, self.choices):
                    yield self._swap(node, new, f"{self._text(node)} → {new}")
            case ast.Call():
                yield from self._call(node)

    def _call(self, node: ast.Call) -> Iterator[Mutant]:
        callee, arguments = node.func, node.args
        name = callee.attr if isinstance(callee, ast.Attribute) else getattr(callee, "id", "")
        if name in _CALLS:
            end = self._end(callee)
            yield Mutant(node.lineno, end - len(name), end, _CALLS[name], f"{name} → {_CALLS[name]}")
        if name in _LEFT_OUT and isinstance(callee, ast.Attribute):
            yield self._swap(node, self._text(callee.value), f"{self._text(node)} without {name}")
        plain = not any(isinstance(one, ast.Starred | ast.Constant) for one in arguments)
        if len(arguments) > 1 and plain and name not in _CALLS:
            one, other = arguments[-2:]
            between = self.source[self._end(one) : self._start(other)].decode()
            text = self._text(other) + between + self._text(one)
            line = one.lineno
            what = f"{name}(… {self._text(other)}, {self._text(one)})"
            yield Mutant(line, self._start(one), self._end(other), text, " ".join(what.split())[:90])


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Where faults are looked for below a node."""
    if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Delete):
        return
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
        return
    targets = node.targets if isinstance(node, ast.Assign) else []
    if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
        return
    skipped = {
        "annotation",
        "returns",
        "decorator_list",
        "bases",
        "keywords" if isinstance(node, ast.ClassDef) else "",
    }
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_docstring(child):
                    yield child


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound_by(node: ast.AST) -> frozenset[str]:
    return frozenset(
        one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    )


def _other_values(value: object, choices: Mapping[str, tuple[str, ...]]) -> list[str]:
    match value:
        case bool():
            return [str(not value)]
        case int():
            return [str(value + 1), str(value - 1)] if value else ["1"]
        case float():
            return [repr(value * 2), repr(value / 2)] if value else ["1.0"]
        case str():
            return [f'"{other}"' for other in choices.get(value, ())]
    return []
