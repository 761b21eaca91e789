"""template.yaml as data, so that what tests make from it cannot drift from what is deployed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

ROOT = Path(__file__).resolve().parent.parent


@cache
def load_template() -> dict[str, Any]:
    """The template, its short-form functions spelled out: `{"Fn::GetAtt": ["Customers", "Arn"]}`."""
    template: dict[str, Any] = cfn_yaml.load(str(ROOT / "template.yaml"))
    return template


def resources(resource_type: str) -> dict[str, dict[str, Any]]:
    """The properties of each resource of the type, by logical id."""
    return {
        name: resource["Properties"]
        for name, resource in load_template()["Resources"].items()
        if resource["Type"] == resource_type
    }
