"""The test kit: a fake Ollama, recordings and their replay, and assertions.

`FakeOllama` is a real HTTP server with Ollama's API. A `Script` defines the answers of a model, a
`Pace` their speed, and a `Fault` how they fail. A `ReceivedRequest` shows afterwards what a client
did. A `Recording` holds the bytes of a real stream; `replay` and `ReplayServer` play it back, split
by any `SplitPlan`. If dripline is installed, pytest finds the fixtures `fake_ollama`,
`chat_server`, `chat_client` and `replay`.

This module exports the public names; each is documented where it is defined.
"""

from typing import TYPE_CHECKING

from dripline.lazy import lazy_names

__all__ = [
    "DEFAULT_PORT",
    "BadRecording",
    "Call",
    "Clock",
    "Ending",
    "Exchange",
    "FakeOllama",
    "Fault",
    "FaultKind",
    "Message",
    "ModelDetails",
    "Pace",
    "Phase",
    "ReceivedChat",
    "ReceivedRequest",
    "Recorder",
    "Recording",
    "Replay",
    "ReplayEnding",
    "ReplayServer",
    "ReplayedRequest",
    "Reply",
    "Script",
    "SplitPlan",
    "SystemClock",
    "UnexpectedRequest",
    "VirtualClock",
    "as_recorded",
    "assert_gave_up",
    "assert_no_half_answer",
    "assert_read_to_end",
    "assert_resilient",
    "assert_retried",
    "assert_same_events",
    "cut_at",
    "demo_models",
    "every_byte",
    "fixed",
    "in_rounds",
    "inside_characters",
    "plan_named",
    "replay",
    "seeded",
    "two_way_splits",
    "usual_splits",
    "when",
    "whole",
]

if TYPE_CHECKING:
    from dripline.clock import Clock, SystemClock, VirtualClock
    from dripline.recordings.exchange import Exchange
    from dripline.recordings.matching import UnexpectedRequest
    from dripline.recordings.recorder import Recorder
    from dripline.recordings.recording import BadRecording, Recording
    from dripline.recordings.replay import replay
    from dripline.recordings.replay_server import ReplayServer
    from dripline.recordings.replayed_request import ReplayedRequest, ReplayEnding
    from dripline.recordings.splits import (
        SplitPlan,
        as_recorded,
        cut_at,
        every_byte,
        fixed,
        inside_characters,
        plan_named,
        seeded,
        two_way_splits,
        usual_splits,
        whole,
    )
    from dripline.testing.assertions import assert_same_events
    from dripline.testing.fake_ollama.faults import Fault, FaultKind
    from dripline.testing.fake_ollama.model_details import ModelDetails
    from dripline.testing.fake_ollama.models import demo_models
    from dripline.testing.fake_ollama.received import Ending, Phase, ReceivedRequest
    from dripline.testing.fake_ollama.request import Message, ReceivedChat
    from dripline.testing.fake_ollama.script import (
        Pace,
        Replay,
        Reply,
        Script,
        in_rounds,
        when,
    )
    from dripline.testing.fake_ollama.server import DEFAULT_PORT, FakeOllama
    from dripline.testing.fake_ollama.stop_sequences import Call
    from dripline.testing.verdicts import (
        assert_gave_up,
        assert_no_half_answer,
        assert_read_to_end,
        assert_resilient,
        assert_retried,
    )
else:  # Seen by type checkers, it would let every name pass.
    __getattr__ = lazy_names(
        __name__,
        {
            "dripline.clock": "Clock SystemClock VirtualClock",
            "dripline.recordings.exchange": "Exchange",
            "dripline.recordings.matching": "UnexpectedRequest",
            "dripline.recordings.recorder": "Recorder",
            "dripline.recordings.recording": "BadRecording Recording",
            "dripline.recordings.replay": "replay",
            "dripline.recordings.replay_server": "ReplayServer",
            "dripline.recordings.replayed_request": "ReplayedRequest ReplayEnding",
            "dripline.recordings.splits": (
                "SplitPlan as_recorded cut_at every_byte fixed inside_characters plan_named "
                "seeded two_way_splits usual_splits whole"
            ),
            "dripline.testing.assertions": "assert_same_events",
            "dripline.testing.fake_ollama.faults": "Fault FaultKind",
            "dripline.testing.fake_ollama.model_details": "ModelDetails",
            "dripline.testing.fake_ollama.models": "demo_models",
            "dripline.testing.fake_ollama.received": "Ending Phase ReceivedRequest",
            "dripline.testing.fake_ollama.request": "Message ReceivedChat",
            "dripline.testing.fake_ollama.script": "Pace Replay Reply Script in_rounds when",
            "dripline.testing.fake_ollama.server": "DEFAULT_PORT FakeOllama",
            "dripline.testing.fake_ollama.stop_sequences": "Call",
            "dripline.testing.verdicts": (
                "assert_gave_up assert_no_half_answer assert_read_to_end assert_resilient"
                " assert_retried"
            ),
        },
    )
