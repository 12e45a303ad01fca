"""`instructor` on `openai`, in the mode that its documentation names for Ollama."""

from typing import Literal

import instructor
import openai
from operations import QUESTION, STORY, URL, main, operation, refused, same
from pydantic import BaseModel, Field

HI = [{"role": "user", "content": QUESTION}]
client = instructor.from_openai(
    openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama", max_retries=0),
    mode=instructor.Mode.JSON,
)
by_schema = instructor.from_openai(
    openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama", max_retries=0),
    mode=instructor.Mode.JSON_SCHEMA,
)


class Person(BaseModel):
    name: str = Field(pattern="^[A-Z][a-z]+$")
    age: int = Field(ge=18, le=99)
    mood: Literal["happy", "sad"]
    friends: list["Person"] = []


class Said(BaseModel):
    you_said: str


@operation("structured")
def structured() -> None:
    person = by_schema.chat.completions.create(model="demo", response_model=Person, messages=HI)
    assert 18 <= person.age <= 99


@operation("JSON")
def any_json() -> None:
    said = client.chat.completions.create(model="demo", response_model=Said, messages=HI)
    assert said.you_said


@operation("streamed structured")
def streamed_structured() -> None:
    parts = by_schema.chat.completions.create_partial(
        model="demo", response_model=Person, messages=HI
    )
    *_, last = parts
    assert last.mood in ("happy", "sad")


@operation("whole")
def whole() -> None:
    answer = client.chat.completions.create(model="story", response_model=None, messages=HI)
    same(answer.choices[0].message.content, STORY)


@operation("no such model")
def no_such_model() -> None:
    asked = {"model": "nobody", "response_model": Said, "messages": HI, "max_retries": 0}
    refused(Exception, lambda: client.chat.completions.create(**asked), "nobody")


@operation("busy")
def busy() -> None:
    asked = {"model": "busy", "response_model": Said, "messages": HI, "max_retries": 0}
    refused(Exception, lambda: client.chat.completions.create(**asked), "busy")


main()
