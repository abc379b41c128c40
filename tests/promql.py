"""What a PromQL expression asks for: its metrics, and the labels that it takes for granted on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import promql_parser as parser

MADE_BY_PROMETHEUS = {"job", "instance", "le", "__name__"}
"""The labels that a series gets from Prometheus, or from being a histogram's bucket."""


def metrics_and_labels(expression: str) -> dict[str, set[str]]:
    """Each metric that an expression selects, with the labels that it must have for the expression to make sense.

    These are the labels of its matchers, and those that aggregations and `on (…)` around it name; less what
    `label_replace` and the like put there. Variables must have been replaced.

    Raises:
        ValueError: When it is not PromQL.
    """
    found: dict[str, set[str]] = {}
    for metric, labels in _uses(parser.parse(expression), frozenset()):
        found.setdefault(metric, set()).update(labels)
    return found


def labels_of(expression: str, known: Mapping[str, Iterable[str]]) -> set[str]:
    """The labels of an expression's result, when those of its metrics are known."""
    return _result(parser.parse(expression), known)


def _uses(node: object, around: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    match node:
        case parser.VectorSelector():
            yield _name(node), around | {matcher.name for matcher in node.matchers.matchers} - {"__name__"}
        case parser.AggregateExpr():
            yield from _uses(node.expr, frozenset(_labels(node)) if _is_by(node) else frozenset())
        case parser.BinaryExpr():
            yield from _uses(node.lhs, around | _joined(node))
            yield from _uses(node.rhs, (around if _contributes(node) else frozenset()) | _joined(node))
        case parser.Call():
            made = {node.args[1].val} if node.func.name in {"label_replace", "label_join"} else set()
            for argument in node.args:
                yield from _uses(argument, around - made)
        case parser.MatrixSelector() | parser.SubqueryExpr() | parser.ParenExpr() | parser.UnaryExpr():
            yield from _uses(_inside(node), around)


def _result(node: object, known: Mapping[str, Iterable[str]]) -> set[str]:
    match node:
        case parser.VectorSelector():
            return set(known[_name(node)])
        case parser.AggregateExpr():
            inner = _result(node.expr, known)
            return inner & _labels(node) if _is_by(node) else inner - _labels(node)
        case parser.BinaryExpr():
            return _result(node.lhs, known) or _result(node.rhs, known)  # a number has none
        case parser.Call():
            labels = set().union(*(_result(argument, known) for argument in node.args))
            if node.func.name in {"label_replace", "label_join"}:
                labels.add(node.args[1].val)
            return labels - {"le"} if node.func.name == "histogram_quantile" else labels
        case parser.MatrixSelector() | parser.SubqueryExpr() | parser.ParenExpr() | parser.UnaryExpr():
            return _result(_inside(node), known)
    return set()


def _inside(node: object) -> object:
    return node.vector_selector if isinstance(node, parser.MatrixSelector) else node.expr


def _name(selector: parser.VectorSelector) -> str:
    named = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"]
    return str(selector.name or (named[0] if named else ""))


def _is_by(node: parser.AggregateExpr) -> bool:
    return node.modifier is None or node.modifier.type == parser.AggModifierType.By


def _labels(node: parser.AggregateExpr) -> set[str]:
    return set(node.modifier.labels) if node.modifier is not None else set()


def _contributes(node: parser.BinaryExpr) -> bool:
    """Whether the labels of the result can be those of the right side."""
    return str(node.op) == "or" or (str(node.op) not in {"and", "unless"} and not _joined(node))


def _joined(node: parser.BinaryExpr) -> frozenset[str]:
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is None or matching.type != parser.LabelModifierType.Include:
        return frozenset()
    return frozenset(matching.labels)
