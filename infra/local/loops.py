"""Expansion of the template's `Fn::ForEach` loops.

CloudFormation and MiniStack expand them. LocalStack 4.14 cannot resolve a reference from outside into a loop.
SAM CLI's own expansion loses `Fn::Sub` around pseudo parameters. Deployments to emulators and tests expand them here.
"""

from __future__ import annotations

import re
from typing import Any

LOOP = "Fn::ForEach::"


def expand_loops(node: Any, items: dict[str, str] | None = None) -> Any:
    """Return the node with each loop replaced by its items. `items` maps identifiers of enclosing loops to values."""
    items = items or {}
    if isinstance(node, list):
        return [expand_loops(inner, items) for inner in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": str(name)} if name in items:
            return items[name]
        case {"Fn::Sub": str(text)}:
            text = _fill(text, items)
            return {"Fn::Sub": text} if "${" in text else text
        case {"Fn::Sub": [str(text), dict(variables)]}:
            return {"Fn::Sub": [_fill(text, items), expand_loops(variables, items)]}
    expanded: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith(LOOP):
            identifier, collection, fragment = value
            for item in collection:
                expanded |= expand_loops(fragment, {**items, identifier: item})
        else:
            expanded[_fill(key, items)] = expand_loops(value, items)
    return expanded


def _fill(text: str, items: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)}", lambda found: items.get(found[1], found[0]), text)
