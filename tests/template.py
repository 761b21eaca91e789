"""template.yaml as data: tests use the resources that are deployed."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-untyped]
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]

from infra.local.loops import expand_loops

ROOT = Path(__file__).resolve().parent.parent

Properties = dict[str, Any]
_NO_VALUE = object()


@cache
def load_template(path: str = "template.yaml") -> dict[str, Any]:
    """Return the template with its loops expanded and `!GetAtt` as `{"Fn::GetAtt": ["Customers", "Arn"]}`."""
    template: dict[str, Any] = expand_loops(yaml_parse((ROOT / path).read_text()))
    return template


class ByLogicalId(dict[str, Any]):
    """Values by the logical ids of resources. A missing one is an error of template.yaml."""

    def __missing__(self, name: str) -> Any:
        raise AssertionError(f"template.yaml has no resource {name}")


class Stack:
    """The template with parameters: its conditions decided, its values filled in."""

    def __init__(self, **parameters: str) -> None:
        declared = load_template()["Parameters"]
        assert parameters.keys() <= declared.keys(), parameters.keys() - declared.keys()
        self.parameters = {n: p.get("Default") for n, p in declared.items()} | parameters
        self._intrinsic_functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": self._holds,
            "Fn::If": lambda choice: self._resolve(choice[1 if self._holds(choice[0]) else 2]),
            "Fn::Equals": lambda sides: (
                str(self._resolve(sides[0])) == str(self._resolve(sides[1]))
            ),
            "Fn::Not": lambda condition: not self._resolve(condition[0]),
            "Fn::And": lambda conditions: all(self._resolve(conditions)),
            "Fn::Or": lambda conditions: any(self._resolve(conditions)),
            "Fn::Join": lambda join: join[0].join(self._resolve(join[1])),
            "Fn::Split": lambda split: self._resolve(split[1]).split(split[0]),
            "Fn::Sub": self._sub,
            "Fn::FindInMap": self._find_in_map,
        }

    def with_parameters(self, **parameters: str) -> Stack:
        """Return the stack with some parameters changed."""
        given = {name: value for name, value in self.parameters.items() if value is not None}
        return Stack(**{**given, **parameters})

    def resources(self, resource_type: str) -> dict[str, Properties]:
        """Return the properties of each resource of the type, by logical id."""
        found = self.all_resources.items()
        return ByLogicalId({n: r["Properties"] for n, r in found if r["Type"] == resource_type})

    @cached_property
    def all_resources(self) -> dict[str, Any]:
        """Each resource whose condition holds, resolved."""
        return ByLogicalId(
            {
                name: self._resolve({k: v for k, v in resource.items() if k != "Condition"})
                for name, resource in load_template()["Resources"].items()
                if "Condition" not in resource or self._holds(resource["Condition"])
            }
        )

    @cached_property
    def functions(self) -> dict[str, Properties]:
        """The properties of each function with those of `Globals`, but only its own environment variables."""
        defaults = self._resolve(load_template()["Globals"]["Function"])
        own = self.resources("AWS::Serverless::Function")
        return ByLogicalId(
            {
                name: {
                    **defaults,
                    **properties,
                    "Layers": defaults["Layers"] + properties.get("Layers", []),
                    "LoggingConfig": defaults["LoggingConfig"] | properties["LoggingConfig"],
                }
                for name, properties in own.items()
            }
        )

    @cached_property
    def transformed(self) -> dict[str, Any]:
        """The resources into which SAM transforms this stack."""
        template = {
            "Transform": "AWS::Serverless-2016-10-31",
            "Globals": self._resolve(load_template()["Globals"]),
            "Resources": copy.deepcopy(self.all_resources),
        }
        for resource in template["Resources"].values():
            for code in {"CodeUri", "ContentUri"} & resource["Properties"].keys():
                resource["Properties"][code] = "s3://bucket/key"
        with mock.patch.dict("os.environ", AWS_DEFAULT_REGION="eu-central-1"):
            result: dict[str, Any] = transform(template, {}, mock.Mock(load=dict))
        return result["Resources"]  # type: ignore[no-any-return]

    def refusals(self) -> list[str]:
        """Return the rules that the parameters break, as CloudFormation checks them before it deploys."""
        broken = []
        for rule in load_template()["Rules"].values():
            if self._resolve(rule.get("RuleCondition", True)):
                assertions = [a for a in rule["Assertions"] if not self._resolve(a["Assert"])]
                broken += [assertion["AssertDescription"] for assertion in assertions]
        for name, parameter in load_template()["Parameters"].items():
            value = self.parameters[name]
            if value is None or value not in parameter.get("AllowedValues", [value]):
                broken.append(f"{name} is {value}")
            elif not re.fullmatch(parameter.get("AllowedPattern", ".*"), str(value)):
                why = parameter.get("ConstraintDescription", "")
                broken.append(f"{name} does not match its pattern: {why}")
        return broken

    def _holds(self, condition: str) -> bool:
        return bool(self._resolve(load_template()["Conditions"][condition]))

    def _ref(self, name: str) -> Any:
        """Return a parameter's value. A reference to a resource stays a reference."""
        if name == "AWS::NoValue":
            return _NO_VALUE
        value = self.parameters.get(name, {"Ref": name})
        is_list = load_template()["Parameters"].get(name, {}).get("Type") == "CommaDelimitedList"
        return value.split(",") if is_list else value

    def _sub(self, argument: Any) -> dict[str, str]:
        text, variables = argument if isinstance(argument, list) else (argument, {})
        for name, value in self._resolve(variables).items():
            text = text.replace(f"${{{name}}}", str(value))
        return {"Fn::Sub": str(text)} if "${" in text else text

    def _find_in_map(self, path: list[Any]) -> Any:
        found = load_template()["Mappings"]
        keys = self._resolve(path)
        for key in keys:
            assert key in found, f"template.yaml, Mappings: there is no entry {'.'.join(keys)}"
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


def section(environment: str) -> dict[str, str]:
    """Return the parameters of a section of samconfig.toml, as SAM CLI reads them."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    return dict(CfnParameterOverridesType().convert(overrides, None, None))


EMULATOR = {"MongoDbUri": "mongodb://127.0.0.1/view", "AwsEndpointUrl": "http://127.0.0.1:4566"}
DEVELOPMENT = Stack(Posture="development", **EMULATOR)
PRODUCTION = Stack(**{**section("prod"), "AlarmEmail": "on-call@example.com"})
STACKS = {
    "emulator": DEVELOPMENT,
    "dev": Stack(**section("dev")),
    "prod": PRODUCTION,
    "prod in a VPC": PRODUCTION.with_parameters(
        VpcSubnetIds="subnet-1", VpcSecurityGroupIds="sg-1"
    ),
    "prod with tokens": PRODUCTION.with_parameters(
        ApiAuthorizer="NONE", JwtIssuer="https://issuer.example", AllowedOrigins="https://a.example"
    ),
}
"""The stack on emulators, of each section of samconfig.toml, and of the documented changes to it."""


def resources(resource_type: str) -> dict[str, Properties]:
    """Return the properties of each resource of the type on emulators, by logical id."""
    return DEVELOPMENT.resources(resource_type)


def target(intrinsic: dict[str, Any]) -> str:
    """Return the logical id that a `!Ref` or `!GetAtt` names, or the text of a `!Sub`."""
    ((function, argument),) = intrinsic.items()
    if function == "Fn::GetAtt":
        return str(argument[0] if isinstance(argument, list) else argument.split(".")[0])
    assert function in {"Ref", "Fn::Sub"}
    return str(argument)


def sources(function: Properties, event_type: str) -> list[Properties]:
    """Return the properties of the function's event sources of the type, without CORS preflight routes."""
    found = [
        e["Properties"] for e in function.get("Events", {}).values() if e["Type"] == event_type
    ]
    return [source for source in found if source.get("Method") != "options"]


def function_of(sample: str) -> str:
    """Return the logical id of the function that takes events/`sample`.json: the sample's name starts with it."""
    by_prefix = {
        re.sub(r"\B([A-Z])", r"_\1", name.removesuffix("Function")).lower(): name
        for name in DEVELOPMENT.functions
    }
    found = [name for prefix, name in by_prefix.items() if sample.startswith(f"{prefix}_")]
    assert len(found) == 1, (
        f"events/{sample}.json starts with the name of {len(found)} functions in template.yaml"
    )
    return found[0]


def handler_of(function: str) -> ModuleType:
    """Import the module with the function's handler."""
    properties = DEVELOPMENT.functions[function]
    module = properties["Handler"].rpartition(".")[0]
    return import_module(properties["CodeUri"].strip("/").replace("/", ".") + f".{module}")


def subscribers() -> dict[str, ModuleType]:
    """Import the module of each function that reads a queue, by its name in the mapping `Subscribers`."""
    return {
        name.removesuffix("Function"): handler_of(name)
        for name, function in DEVELOPMENT.functions.items()
        if sources(function, "SQS")
    }


def subscriptions() -> dict[str, list[str]]:
    """Return the event types of each subscriber, by its name after the stack's: customers-subscriber, ..."""
    mappings = load_template()["Mappings"]
    return {
        mappings["Functions"][name]["Name"]: subscriber["Events"]
        for name, subscriber in mappings["Subscribers"].items()
    }


def has_database(function: str) -> bool:
    """Return whether the function is given a table or the view's database."""
    variables = DEVELOPMENT.functions[function]["Environment"]["Variables"]
    return any(name.endswith("_TABLE") or name.startswith("MONGODB_") for name in variables)


def is_open(route: Properties) -> bool:
    """Return whether API Gateway accepts requests to the route without credentials."""
    return bool(route.get("Auth") == {"Authorizer": "NONE"})


def every_route() -> list[tuple[str, str]]:
    """Return the method and the path (its parameters are 1) of each route that needs credentials."""
    return [
        (route["Method"].upper(), re.sub(r"\{\w+}", "1", route["Path"]))
        for function in resources("AWS::Serverless::Function").values()
        for route in sources(function, "Api")
        if not is_open(route)
    ]
