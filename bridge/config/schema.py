"""The JSON Schema of the configuration, for editors: `# yaml-language-server: $schema=…`.

It refuses less than `load_config` does, and never what that accepts.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bridge.config.model import FileSection

SCHEMA_TITLE = "stepup-bridge configuration"


def json_schema() -> dict[str, Any]:
    """Give the schema (JSON Schema 2020-12) as a JSON document."""
    schema = FileSection.model_json_schema(schema_generator=_Generator)
    for section in schema["$defs"].values():
        del section["title"]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": SCHEMA_TITLE}


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, without fields' titles and without null: an unset key is left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if "default" in generated and generated["default"] is None:
            del generated["default"]
        return generated
