"""template.yaml as data, so that what tests make from it cannot drift from what is deployed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent

Properties = dict[str, Any]
_NO_VALUE = object()


@cache
def load_template() -> dict[str, Any]:
    """The template, its short-form functions spelled out: `{"Fn::GetAtt": ["Customers", "Arn"]}`."""
    template: dict[str, Any] = cfn_yaml.load(str(ROOT / "template.yaml"))
    return template


class Stack:
    """What the template makes of these parameters: its conditions decided, its parameters filled in."""

    def __init__(self, **parameters: str | list[str]) -> None:
        defaults = {n: p.get("Default") for n, p in load_template()["Parameters"].items()}
        self._parameters = {**defaults, **parameters}
        self._intrinsic_functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::If": lambda choice: self._resolve(choice[1 if self._holds(choice[0]) else 2]),
            "Fn::Equals": lambda sides: self._resolve(sides[0]) == self._resolve(sides[1]),
            "Fn::Not": lambda condition: not self._resolve(condition[0]),
            "Fn::And": lambda conditions: all(self._resolve(conditions)),
            "Fn::Or": lambda conditions: any(self._resolve(conditions)),
            "Fn::Join": lambda join: join[0].join(self._resolve(join[1])),
            "Fn::FindInMap": self._find_in_map,
        }

    def resources(self, resource_type: str) -> dict[str, Properties]:
        """The properties of each resource of the type, by logical id."""
        return {
            name: self._resolve(resource["Properties"])
            for name, resource in load_template()["Resources"].items()
            if resource["Type"] == resource_type and self._has(resource)
        }

    @cached_property
    def functions(self) -> dict[str, Properties]:
        """The properties of each function, with what `Globals` gives to all; the environment's variables are one's own."""
        defaults = self._resolve(load_template()["Globals"]["Function"])
        own = self.resources("AWS::Serverless::Function")
        return {name: {**defaults, **properties} for name, properties in own.items()}

    def _has(self, resource: dict[str, Any]) -> bool:
        return "Condition" not in resource or self._holds(resource["Condition"])

    def _holds(self, condition: str) -> bool:
        return bool(self._resolve(load_template()["Conditions"][condition]))

    def _ref(self, name: str) -> Any:
        """A parameter's value; a reference to a resource stays one."""
        return _NO_VALUE if name == "AWS::NoValue" else self._parameters.get(name, {"Ref": name})

    def _find_in_map(self, path: list[Any]) -> Any:
        found = load_template()["Mappings"]
        for key in self._resolve(path):
            found = found[key]
        return found

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [inner for inner in map(self._resolve, value) if inner is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1 and (name := next(iter(value))) in self._intrinsic_functions:
            return self._intrinsic_functions[name](value[name])
        resolved = {key: self._resolve(inner) for key, inner in value.items()}
        return {key: inner for key, inner in resolved.items() if inner is not _NO_VALUE}


DEVELOPMENT = Stack(MongoDbUri="mongodb://somewhere/order_history")
PRODUCTION = Stack(
    Posture="production",
    MongoDbSecretName="mongodb-uri",
    VpcSubnetIds=["subnet-1"],
    VpcSecurityGroupIds=["sg-1"],
)


def resources(resource_type: str) -> dict[str, Properties]:
    """The properties of each resource of the type, by logical id, where nobody asks for anything special."""
    return DEVELOPMENT.resources(resource_type)


def target(intrinsic: dict[str, Any]) -> str:
    """The logical id that a `!Ref` or `!GetAtt` names; of a `!Sub`, its text."""
    ((function, argument),) = intrinsic.items()
    if function == "Fn::GetAtt":
        return str(argument[0] if isinstance(argument, list) else argument.split(".")[0])
    assert function in {"Ref", "Fn::Sub"}
    return str(argument)


def sources(function: Properties, event_type: str) -> list[Properties]:
    """The properties of the function's event sources of the type."""
    return [e["Properties"] for e in function.get("Events", {}).values() if e["Type"] == event_type]


def is_open(route: Properties) -> bool:
    """Whether API Gateway lets everybody in, whatever it asks elsewhere."""
    return bool(route.get("Auth") == {"Authorizer": "NONE"})


def every_route() -> list[tuple[str, str]]:
    """The method and the path of each of the API's routes that are not open to everybody, the path's parameters filled in."""
    return [
        (route["Method"].upper(), re.sub(r"\{\w+}", "1", route["Path"]))
        for function in resources("AWS::Serverless::Function").values()
        for route in sources(function, "Api")
        if not is_open(route)
    ]
