"""Structured output: check an answer against the `format` of its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import orjson

from dripline.answer import Answer
from dripline.errors import DriplineError


class FormatMismatch(DriplineError, ValueError):
    """The answer does not fit the `format` of the request.

    Attributes:
        answer: The answer, unchanged.
        problem: Which part does not fit, and why.
    """

    def __init__(self, answer: Answer, problem: str) -> None:
        super().__init__(answer, problem)
        self.answer = answer
        self.problem = problem

    def __str__(self) -> str:
        end = self.answer.end
        cut = " (it was cut off at its limit of tokens)" if end and end.reason == "length" else ""
        return f"the answer does not fit the format{cut}: {self.problem}"


class FormatModel(Protocol):
    """A class that `ask` accepts as `format`, such as a pydantic model."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: str) -> Self:
        """Return the object for the JSON text; raise `ValueError` if the text does not fit."""
        ...


M = TypeVar("M", bound=FormatModel)


def model_of(answer: Answer, model: type[M]) -> M:
    """Return the answer as an object of the model.

    Raises:
        FormatMismatch: The answer does not fit the model.
    """
    try:
        return model.model_validate_json(answer.text)
    except ValueError as error:  # the base class of pydantic's ValidationError
        raise FormatMismatch(answer, str(error)) from error


def value_of(answer: Answer, schema: Mapping[str, Any]) -> Any:
    """Return the answer as a JSON value.

    Raises:
        FormatMismatch: The answer is not JSON, or does not fit the schema.
    """
    from jsonschema import exceptions, validators

    try:
        value = orjson.loads(answer.text)
        validators.validator_for(schema)(schema).validate(value)
    except orjson.JSONDecodeError as error:
        raise FormatMismatch(answer, f"not JSON: {error}") from error
    except exceptions.ValidationError as error:
        raise FormatMismatch(answer, f"{error.json_path}: {error.message}") from error
    return value


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check, before a chat is sent, that its answer can be checked against the schema.

    Raises:
        ImportError: `jsonschema` is not installed.
        ValueError: The schema is not a JSON schema.
    """
    try:
        from jsonschema import exceptions, validators
    except ImportError as error:
        raise ImportError(
            "checking an answer against a JSON schema needs jsonschema:"
            " pip install 'dripline[format]'"
        ) from error
    try:
        validators.validator_for(schema).check_schema(dict(schema))
    except exceptions.SchemaError as error:
        raise ValueError(f"format: not a JSON schema: {error.message}") from error
