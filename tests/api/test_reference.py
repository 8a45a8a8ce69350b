"""The OpenAPI document: well-formed, complete, and true."""

import re

from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.application import all_routes
from tests.api.world import World


def test_the_document_is_well_formed_openapi_3_1(shared_world: World) -> None:
    document = shared_world.document
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented_and_nothing_else(shared_world: World) -> None:
    served = {(route.path, route.method.lower()) for route in all_routes()}
    documented = {(path, method) for path, methods in shared_world.document["paths"].items() for method in methods}
    assert documented == served
    assert len(documented) >= 13


def test_every_operation_tells_its_answers_its_refusals_and_its_scope(shared_world: World) -> None:
    names = set()
    for path, methods in shared_world.document["paths"].items():
        for method, operation in methods.items():
            names.add(operation["operationId"])
            assert operation["summary"]
            assert any(status.startswith("2") for status in operation["responses"])
            assert operation.get("security") == [] or "scope" in operation["description"], (method, path)
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert ("requestBody" in operation) <= (method in ("post", "put", "patch"))
    assert len(names) == sum(len(methods) for methods in shared_world.document["paths"].values())


def test_every_schema_explains_itself_and_every_reference_resolves(shared_world: World) -> None:
    schemas = shared_world.document["components"]["schemas"]
    assert all(schema.get("description") for schema in schemas.values())
    assert set(re.findall(r"#/components/schemas/(\w+)", str(shared_world.document))) == set(schemas)


def test_no_amount_is_documented_as_anything_but_an_integer(shared_world: World) -> None:
    amounts = [
        (name, field, schema)
        for name, kind in shared_world.document["components"]["schemas"].items()
        for field, schema in kind.get("properties", {}).items()
        if field.endswith("_minor")
    ]
    assert len(amounts) >= 10
    for name, field, schema in amounts:
        kinds = {one["type"] for one in schema.get("anyOf", [schema])}
        assert kinds <= {"integer", "null"}, (name, field, schema)
