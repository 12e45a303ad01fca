"""Options: flags before the environment before defaults."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

from dripline_server import settings
from dripline_server.settings import BadSetting, Settings


def from_flags(*arguments: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    return settings.load(vars(parser.parse_args(arguments)), environment)


def test_defaults() -> None:
    """Nothing given gives what `Settings()` is."""
    assert from_flags() == Settings()


def test_a_flag_goes_before_its_variable() -> None:
    """And an empty variable counts as not set."""
    assert from_flags("--port", "1", DRIPLINE_PORT="2").port == 1
    assert from_flags(DRIPLINE_PORT="2").port == 2
    assert from_flags(DRIPLINE_PORT="").port == 8000


def test_every_option_has_a_flag_and_a_variable_of_its_own() -> None:
    """No two options share one."""
    declared = fields(Settings)
    variables = {settings.variable_of(option) for option in declared}
    assert len(variables) == len(declared)
    assert {"DRIPLINE_STALL_TIMEOUT", "OLLAMA_HOST"} <= variables
    assert settings.flag_of(declared[0]) == "--host"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://box:1234/", "http://box:1234"),
        ("https://box", "https://box"),
        ("https://box/ollama/", "https://box/ollama"),
        ("box", "http://box:11434"),
        ("box:1", "http://box:1"),
        ("0.0.0.0", "http://0.0.0.0:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1", "http://[::1]:1"),
        ("::1", "http://[::1]:11434"),
        (":1234", "http://127.0.0.1:1234"),
        (' "box:1" ', "http://box:1"),
        ("'http://box'", "http://box"),
    ],
)
def test_addresses_are_taken_as_ollama_takes_them(text: str, url: str) -> None:
    """`OLLAMA_HOST` may be a bare host."""
    assert from_flags(OLLAMA_HOST=text).ollama_url == url
    assert from_flags("--ollama", text, OLLAMA_HOST="other").ollama_url == url


def test_a_blank_variable_counts_as_not_set() -> None:
    """So nobody has named an Ollama with it."""
    settings = from_flags(OLLAMA_HOST=" ", DRIPLINE_PORT="")
    assert not settings.names_ollama
    assert settings.port == 8000


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--port", "x"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--ollama", "ftp://box"),
        ("--ollama", "http://"),
        ("--ollama", "box:port"),
        ("--stall-timeout", "-1"),
        ("--stall-timeout", "nan"),
        ("--stall-timeout", "inf"),
        ("--stall-timeout", "soon"),
        ("--max-body", "0"),
        ("--max-body", "1.5"),
        ("--log-level", "loud"),
        ("--run-log", "file:///log"),
        ("--lease-time", "0.5"),
        ("--cors-origins", "*"),
        ("--cors-origins", "https://a.example/"),
        ("--cors-origins", "https://a.example,b.example"),
        ("--cors-origins", "https://a.example:x"),
    ],
)
def test_a_bad_value_names_its_source(flag: str, text: str) -> None:
    """The message names the flag or the variable, and the value."""
    with pytest.raises(BadSetting, match=f"^{flag}: {text!r}"):
        from_flags(f"{flag}={text}")
    variable = "DRIPLINE_" + flag.strip("-").replace("-", "_").upper()
    with pytest.raises(BadSetting, match=f"^{variable}: {text!r}"):
        from_flags(**{variable: text})


def test_a_switch() -> None:
    """A flag without a value, or a variable that says so."""
    assert not from_flags().no_auth
    assert from_flags("--no-auth").no_auth
    assert from_flags(DRIPLINE_NO_AUTH="1").no_auth
    assert not from_flags(DRIPLINE_NO_AUTH="false").no_auth
    with pytest.raises(BadSetting, match=r"^DRIPLINE_NO_AUTH: 'maybe'"):
        from_flags(DRIPLINE_NO_AUTH="maybe")


@pytest.mark.parametrize(
    "token", ["short", "with a blank in it", "t\u00f6ken-t\u00f6ken-t\u00f6ken"]
)
def test_a_bad_token_is_not_shown(token: str) -> None:
    """The message names the variable, and not what is in it."""
    with pytest.raises(BadSetting, match=r"^DRIPLINE_TOKEN: ") as raised:
        from_flags(DRIPLINE_TOKEN=token)
    assert token not in str(raised.value)
    assert raised.value.__cause__ is None


def test_the_file_of_tokens_alone() -> None:
    """The commands that change it need no other option, nor that the others are right."""
    environment = {"DRIPLINE_TOKENS": "b.toml", "DRIPLINE_PORT": "x", "DRIPLINE_HOST": "0.0.0.0"}
    assert settings.load_tokens({}, environment) == "b.toml"
    assert settings.load_tokens({"tokens": "a.toml"}, environment) == "a.toml"
    with pytest.raises(BadSetting, match=r"--tokens or DRIPLINE_TOKENS"):
        settings.load_tokens({}, {"DRIPLINE_TOKENS": " "})


def test_lists() -> None:
    """Parts between commas; blanks and empty parts do not count."""
    assert from_flags("--allowed-hosts", "a, b,,c").allowed_hosts == ("a", "b", "c")
    origins = ("https://a.example", "http://b.example:81")
    assert from_flags(DRIPLINE_CORS_ORIGINS=", ".join(origins)).cors_origins == origins
