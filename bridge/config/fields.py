"""The types of the configuration's values: how each is read, and what its JSON Schema says."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import InitErrorDetails

from bridge.config import addresses, values
from bridge.tokens.settings import ALGORITHMS

ClaimAsWritten = str | list[str | list[str]]

MAX_MAX_AGE = 10 * 365 * 86400


def _text_schema(pattern: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", **more})


def _unique(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a list and find what is in it twice, also where one of its items cannot be read."""
    try:
        items = read(value)
    except ValidationError as error:
        twice = _twice(value) if isinstance(value, list) else None
        if twice is None:
            raise
        faults = cast(list[InitErrorDetails], error.errors(include_url=False))
        found = InitErrorDetails(type="value_error", input=value, ctx={"error": twice})
        raise ValidationError.from_exception_data(error.title, [*faults, found]) from None
    if (twice := _twice(items)) is not None:
        raise twice
    return items


def _twice(items: list[Any]) -> ValueError | None:
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        if isinstance(item, str) and first.setdefault(item, index) != index:
            return ValueError(f"must not name anything twice (items {first[item]} and {index})")
    return None


# A list that, where it is given, says something: `[]` could mean "none" or "any".
UNIQUE_LIST = (
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    WrapValidator(_unique),
)
"""Use with `Annotated[list[…], *UNIQUE_LIST]`."""


def whole_number(low: int, high: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """Give the annotations of an integer between two bounds, both included."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"must be a whole number from {low} to {high}")

    return BeforeValidator(read), WithJsonSchema(
        {"type": "integer", "minimum": low, "maximum": high}
    )


def seconds(low: int, high: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """Give the annotations of a duration between two bounds in seconds, both included."""

    def read(value: object) -> int:
        duration = values.duration(value)
        if not low <= duration <= high:
            shown = f"{values.duration_text(low)} to {values.duration_text(high)}"
            raise ValueError(f"must be a duration from {shown}")
        return duration

    return BeforeValidator(read), WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": low, "maximum": high},
                {"type": "string", "pattern": f"^{values.DURATION_PATTERN}$"},
            ]
        }
    )


def _unavailable_status(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if value == 401:  # noqa: PLR2004
            raise ValueError(
                "must not be 401: while the issuer is down, clients would log in forever"
            )
        if value == 407:  # noqa: PLR2004
            raise ValueError("must not be 407: clients would take the bridge for their proxy")
        if value == 503 or 400 <= value <= 499:  # noqa: PLR2004
            return value
    raise ValueError("must be 503 or a client error from 400 to 499, but not 401 and 407")


def _version(value: object) -> int:
    if value == 1 and type(value) is int:
        return 1
    raise ValueError("must be 1, the only version of this format")


def _algorithm(text: str) -> str:
    if text in ALGORITHMS:
        return text
    if text == "none":
        raise ValueError("must not be none: such tokens are not signed")
    if text.startswith("HS"):
        raise ValueError("must not be a shared-secret algorithm: whoever verifies could forge")
    raise ValueError(f"must be one of {', '.join(ALGORITHMS)}")


def _token_format(text: str) -> str:
    if text in ("jwt", "opaque"):
        return text
    raise ValueError("must be jwt or opaque")


def _claim(value: object) -> ClaimAsWritten:
    values.claim_paths(value)
    return cast(ClaimAsWritten, value)


def _address(text: str) -> str:
    addresses.address(text)
    return text


_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
_CLAIM_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _TEXT_SCHEMA,
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [_TEXT_SCHEMA, {"type": "array", "minItems": 1, "items": _TEXT_SCHEMA}]
            },
        },
    ]
}

Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
UnavailableStatus = Annotated[
    int,
    BeforeValidator(_unavailable_status),
    WithJsonSchema(
        {
            "type": "integer",
            "anyOf": [{"const": 503}, {"minimum": 400, "maximum": 499}],
            "not": {"enum": [401, 407]},
        }
    ),
]
Address = Annotated[str, AfterValidator(_address), _text_schema("(unix:.+|.+:[0-9]{1,5})")]
Name = Annotated[str, AfterValidator(values.name), _text_schema(values.NAME_PATTERN)]
Text = Annotated[str, AfterValidator(values.plain_text), WithJsonSchema(_TEXT_SCHEMA)]
FileName = Annotated[str, AfterValidator(values.plain_text), WithJsonSchema(_TEXT_SCHEMA)]
VariableName = Annotated[
    str, AfterValidator(values.variable_name), _text_schema(values.VARIABLE_PATTERN)
]
Realm = Annotated[str, AfterValidator(values.realm), _text_schema("[ -~]+")]
ScopeToken = Annotated[
    str, AfterValidator(values.scope_token), _text_schema(values.SCOPE_TOKEN_PATTERN)
]
Url = Annotated[str, AfterValidator(addresses.url), _text_schema("[Hh][Tt][Tt][Pp][Ss]?://.+")]
Resource = Annotated[
    str, AfterValidator(addresses.resource), _text_schema("[Hh][Tt][Tt][Pp][Ss]?://.+")
]
Origin = Annotated[
    str, AfterValidator(addresses.origin), _text_schema("[Hh][Tt][Tt][Pp][Ss]?://[^/?#]+/?")
]
RedisUrl = Annotated[
    str,
    AfterValidator(addresses.redis_url_without_password),
    _text_schema("([Rr][Ee][Dd][Ii][Ss][Ss]?|[Uu][Nn][Ii][Xx])://[^?#]+"),
]
Method = Annotated[str, AfterValidator(values.method), _text_schema(values.METHOD_PATTERN)]
Host = Annotated[str, AfterValidator(addresses.host), WithJsonSchema(_TEXT_SCHEMA)]
BasePath = Annotated[str, AfterValidator(addresses.base_path), _text_schema("/[^*{}%;]*")]
PathTemplate = Annotated[str, _text_schema("/.*")]  # parsed in `checks`: needs the API's `path`
Algorithm = Annotated[
    str, AfterValidator(_algorithm), WithJsonSchema({"type": "string", "enum": list(ALGORITHMS)})
]
TokenFormat = Annotated[
    str, AfterValidator(_token_format), WithJsonSchema({"enum": ["jwt", "opaque"]})
]
Claim = Annotated[ClaimAsWritten, PlainValidator(_claim), WithJsonSchema(_CLAIM_SCHEMA)]
HeaderName = Annotated[str, AfterValidator(values.header_name), _text_schema("[^_:]+")]
