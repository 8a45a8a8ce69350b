"""The examples in the OpenAPI document have the shape that it tells, and no operation of integrators lacks one."""

import re
from collections.abc import Iterator
from typing import Any

from tests.api.world import World

OF_INTEGRATORS = {"accounts", "assets", "payments", "journals", "keys"}
"""The tags that a checkout begins with."""


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation."""
    for methods in document["paths"].values():
        yield from methods.values()


def contents(world: World, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The contents of a request and of its answers."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from world.resolved(response).get("content", {}).values()


def test_every_example_has_the_shape_that_the_document_tells(shared_world: World) -> None:
    count = 0
    for operation in operations(shared_world.document):
        for content in contents(shared_world, operation):
            for example in content.get("examples", {}).values():
                assert example["summary"]
                shared_world.validate(example["value"], content["schema"])
                count += 1
    assert count > 60


def test_every_operation_of_integrators_has_an_example_of_its_request_and_of_its_answer(shared_world: World) -> None:
    without = []
    for operation in operations(shared_world.document):
        if operation["tags"][0] not in OF_INTEGRATORS or operation["operationId"].endswith("_evidence"):
            continue
        is_answered = any(
            "examples" in content
            for status, response in operation["responses"].items()
            if status.startswith("2")
            for content in shared_world.resolved(response).get("content", {}).values()
        )
        asked = operation.get("requestBody", {"required": False})
        if not is_answered or (asked["required"] and "examples" not in asked["content"]["application/json"]):
            without.append(operation["operationId"])
    assert without == []


def test_no_key_in_an_example_is_one_that_anybody_had(shared_world: World) -> None:
    text = str(shared_world.document)
    secrets = re.findall(r"(?:hf_[0-9a-f]{12}_|whsec_)[\w-]{8,}", text)
    assert secrets
    assert {one.partition("_the-")[2] for one in secrets} == {"secret-is-shown-once"}
    assert text.count("hf_") == sum(one.startswith("hf_") for one in secrets)
