"""OpenAPI documents as tools, and their calls over HTTP against a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from jsonschema import Draft202012Validator

from core.settings import UserError
from generation.environments.service import OpenApiEnvironmentFactory
from generation.llm.base import LLMError
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.openapi import OpenApiSeeds
from generation.services.openapi import Operation, read_document
from generation.toolset_runner import source_from_seed

PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "maxLength": 20, "example": "Rex"},
        "born": {"type": "string", "format": "date", "nullable": True},
        "mother": {"$ref": "#/components/schemas/Pet"},
        "secret": {"type": "string", "writeOnly": True},
    },
}
JSON = "application/json"


def answers(schema: Any) -> dict[Any, Any]:
    return {200: {"description": "found", "content": {JSON: {"schema": schema}}}}


def body(schema: Any, media_type: str = JSON, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {media_type: {"schema": schema}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pet Shop API", "version": "1", "license": {"name": "CC0-1.0"}},
    "paths": {
        "/pets": {
            "get": {
                "operationId": "pets.list",
                "summary": "Lists pets",
                "description": "At most `limit` of them.",
                "parameters": [
                    {"$ref": "#/components/parameters/Limit"},
                    {"name": "filter[name]", "in": "query", "schema": {"type": "string"}, "description": "A name."},
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                ],
                "responses": answers({"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}),
            },
            "post": {
                "operationId": "pets_list",
                "requestBody": {"$ref": "#/components/requestBodies/Pet"},
                "responses": {201: {"description": "made"}},
            },
        },
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"responses": answers({"$ref": "#/components/schemas/Pet"})},
            "put": {
                "operationId": "replacePet",
                "parameters": [{"name": "X-Reason", "in": "header", "schema": {"type": "string"}}],
                "requestBody": body({"allOf": [{"properties": {"id": {"type": "integer"}}, "required": ["id"]}, PET]}),
                "responses": {},
            },
            "patch": {"operationId": "tag pet", "requestBody": body({"type": "array", "items": {"type": "string"}})},
            "delete": {"operationId": "2remove", "requestBody": body(PET, "application/x-www-form-urlencoded", False)},
        },
        "/photos": {"post": {"requestBody": body({}, "image/png")}},
        "/far": {"get": {"parameters": [{"$ref": "other.yaml#/x"}]}},
        "/lost": {"get": {"parameters": [{"$ref": "#/components/parameters/Lost"}]}},
        "/jar": {"get": {"parameters": [{"name": "c", "in": "cookie", "required": True, "schema": {}}]}},
        "/bomb": {"post": {"requestBody": body({"$ref": "#/components/schemas/B0"})}},
    },
    "components": {
        "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}}},
        "requestBodies": {"Pet": body({"$ref": "#/components/schemas/Pet"})},
        "schemas": {"Pet": PET}
        | {f"B{n}": {"properties": {p: {"$ref": f"#/components/schemas/B{n + 1}"} for p in "abcd"}} for n in range(12)}
        | {"B12": {"type": "string"}},
    },
}


@pytest.fixture(scope="module", params=["shop.json", "shop.yaml"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("openapi") / request.param)
    dump = yaml.safe_dump(DOCUMENT, sort_keys=False) if path.suffix == ".yaml" else json.dumps(DOCUMENT, indent="\t")
    path.write_text(dump)
    return path


@pytest.fixture(scope="module")
def operations(path: Path) -> dict[str, Operation]:
    return {operation.tool.name: operation for operation in read_document(path).operations}


def test_each_operation_is_a_tool_with_a_valid_and_unique_name(operations: dict[str, Operation]) -> None:
    assert {name: (each.method, each.path) for name, each in operations.items()} == {
        "pets_list": ("get", "/pets"),
        "pets_list_2": ("post", "/pets"),
        "get_pets_id": ("get", "/pets/{id}"),
        "replacePet": ("put", "/pets/{id}"),
        "tag_pet": ("patch", "/pets/{id}"),
        "delete_2remove": ("delete", "/pets/{id}"),
    }
    assert operations["pets_list"].tool.description == "Lists pets. At most `limit` of them."


def test_parameters_and_bodies_are_arguments(operations: dict[str, Operation]) -> None:
    arguments = {
        name: (list(each.tool.parameters["properties"]), each.tool.parameters.get("required", []))
        for name, each in operations.items()
    }
    assert arguments == {
        "pets_list": (["limit", "filter_name", "tag"], []),
        "pets_list_2": (["name", "born", "mother", "secret"], ["name"]),
        "get_pets_id": (["id"], ["id"]),
        "replacePet": (["id", "X_Reason", "id_2", "name", "born", "mother", "secret"], ["id", "id_2", "name"]),
        "tag_pet": (["id", "body"], ["id", "body"]),
        "delete_2remove": (["id", "name", "born", "mother", "secret"], ["id"]),
    }
    listed = operations["pets_list"].tool.parameters["properties"]
    assert listed["limit"] == {"type": "integer", "maximum": 9}
    assert listed["filter_name"] == {"type": "string", "description": "A name."}


def test_schemas_stand_alone_and_mean_the_same(operations: dict[str, Operation]) -> None:
    create, get = operations["pets_list_2"].tool, operations["get_pets_id"].tool
    assert get.returns
    valid = {"name": "Rex", "born": None, "mother": {"name": "Ada", "mother": {"name": "Eva", "born": "2020-01-01"}}}
    Draft202012Validator(create.parameters).validate(valid)
    for wrong in ({"born": None}, {"name": "R" * 21}, valid | {"mother": {"name": "Ada", "mother": {"name": 3}}}):
        assert not Draft202012Validator(create.parameters).is_valid(wrong)
    Draft202012Validator(get.returns).validate({"id": 1} | valid | {"mother": {"id": 2, "name": "Ada"}})
    assert not Draft202012Validator(get.returns).is_valid(valid), "answers have the id that requests leave out"
    assert "secret" not in json.dumps(get.returns)
    assert "components" not in json.dumps([each.tool.model_dump() for each in operations.values()])


def test_dates_in_yaml_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    schema = "{type: string, enum: [2026-01-31, 2026-01-31T08:00:00Z], default: 2026-01-31}"
    parameters = f"[{{name: day, in: query, schema: {schema}}}]"
    path.write_text(f"openapi: 3.1.0\npaths: {{/a: {{get: {{parameters: {parameters}}}}}}}")
    (operation,) = read_document(path).operations
    day = operation.tool.parameters["properties"]["day"]
    assert day == {"type": "string", "enum": ["2026-01-31", "2026-01-31T08:00:00Z"], "default": "2026-01-31"}


def test_what_cannot_be_called_is_left_out_with_the_reason(path: Path) -> None:
    reasons = dict(why.split(": ", 1) for why in read_document(path).unusable)
    assert reasons.keys() == {"POST /photos", "GET /far", "GET /lost", "GET /jar", "POST /bomb"}
    assert "image/png" in reasons["POST /photos"]
    assert "nothing is fetched" in reasons["GET /far"]
    assert "leads nowhere" in reasons["GET /lost"]
    assert "cookie" in reasons["GET /jar"]
    assert "parts" in reasons["POST /bomb"]


def test_documents_are_seeds(path: Path) -> None:
    (seed,) = OpenApiSeeds([path], ["pets_list", "replacePet"]).load()
    assert (seed.name, seed.title, seed.licence, seed.engine) == ("shop", "pet shop", "CC0-1.0", "openapi")
    assert [tool.name for tool in seed.tools] == ["pets_list", "replacePet"]
    with pytest.raises(UserError, match="did you mean 'replacePet'"):
        OpenApiSeeds([path], ["replace_pet"]).load()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "something else"),
        ("{", "expected: an OpenAPI document"),
        ("- a\n- b", "something else"),
        ('{"swagger": "2.0"}', "Swagger 2.0"),
        ('{"openapi": "4.0.0"}', "4.0.0"),
        ('{"openapi": "3.1.0", "paths": []}', "has no operation"),
        ('{"openapi": "3.1.0", "paths": {"/a": 7, "/b": {"get": []}}}', "has no operation"),
        ("[" * 100_000, "expected: an OpenAPI document"),
        ("!!python/object/apply:os.system ['true']", "expected: an OpenAPI document"),
        ("openapi: 3.1.0\npaths: {/a: {$ref: '#/paths/~1a'}}", "does not end"),
    ],
)
def test_other_files_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=problem):
        OpenApiSeeds([path]).load()


@asynccontextmanager
async def pet_shop() -> AsyncIterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """The address of a server that says what it was sent, and all of that."""
    seen: list[tuple[str, str, str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(
            (request.method, request.raw_path, await request.text(), request.headers.get("Authorization", "none"))
        )
        match request.path:
            case "/v1/pets/gone":
                return web.json_response({"detail": "no such pet"}, status=404)
            case "/v1/pets/moved":
                raise web.HTTPFound("/elsewhere")
            case "/v1/pets/huge":
                return web.Response(text="x" * 1_000_000)
            case "/v1/pets/silent":
                return web.Response(status=204)
        return web.json_response([{"id": 1, "name": "Rex"}])

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/", seen
    finally:
        await runner.cleanup()


async def test_calls_are_the_requests_that_the_document_describes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "Bearer t")
    (seed,) = OpenApiSeeds([path]).load()
    async with pet_shop() as (address, seen):
        factory = OpenApiEnvironmentFactory(address, [path], {"Authorization": "SHOP_TOKEN"})
        environment = factory.for_domain(source_from_seed(seed).toolset, Meter(ScriptedLLM()), "d").open()

        async def call(tool: str, /, **arguments: Any) -> Any:
            result = await environment.call(tool, arguments)
            return result.value if not result.error else result.value["error"]

        assert await call("pets_list", limit=2, filter_name="a&b=c", tag=["x", "y"]) == [{"id": 1, "name": "Rex"}]
        await call("replacePet", id="a/b?c", id_2=7, name="Zoë", born=None)
        await call("tag_pet", id="ä{id}", body=["x"])
        await call("delete_2remove", id="1", name="Rex & Co")
        assert await call("get_pets_id", id="silent") == {"status": 204}
        assert [request[:3] for request in seen] == [
            ("GET", "/v1/pets?limit=2&filter%5Bname%5D=a%26b%3Dc&tag=x&tag=y", ""),
            ("PUT", "/v1/pets/a%2Fb%3Fc", '{"id": 7, "name": "Zoë", "born": null}'),
            ("PATCH", "/v1/pets/%C3%A4%7Bid%7D", '["x"]'),
            ("DELETE", "/v1/pets/1", "name=Rex+%26+Co"),
            ("GET", "/v1/pets/silent", ""),
        ]
        assert {request[3] for request in seen} == {"Bearer t"}

        assert "no such pet" in await call("get_pets_id", id="gone")
        assert (await call("get_pets_id", id="moved")).startswith("HTTP 302")
        assert "too large" in await call("get_pets_id", id="huge")
        made = len(seen)
        for arguments in ({"id": ".."}, {"id": ""}, {"id": 5}, {}, {"id": "1", "x": 1}):
            assert await call("get_pets_id", **arguments)
        assert "cannot be a header" in await call("replacePet", id="1", id_2=1, name="R", X_Reason="a\r\nHost: evil")
        assert len(seen) == made, "nothing was sent"
        assert not environment.executable
        environment.close()
    with pytest.raises(LLMError, match="cannot be reached"):
        await factory.for_domain(source_from_seed(seed).toolset, Meter(ScriptedLLM()), "d").open().call("pets_list", {})


@pytest.mark.parametrize(
    ("base_url", "variables", "problem"),
    [
        (None, {}, "base_url=None"),
        ("file:///etc", {}, "expected: the http:// or https:// URL"),
        ("http://127.0.0.1", {"Authorization": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
    ],
)
def test_unusable_addresses_are_refused(
    base_url: str | None, variables: dict[str, str], problem: str, path: Path
) -> None:
    with pytest.raises(UserError, match=problem):
        OpenApiEnvironmentFactory(base_url, [path], variables)
