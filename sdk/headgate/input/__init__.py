"""Inputs of flow runs: what a pause waits for, and what runs send each other."""

from __future__ import annotations

from headgate.input.receiving import InputReceiver, areceive_input, receive_input
from headgate.input.run_input import AutomaticRunInput, RunInput, RunInputMetadata, input_type
from headgate.input.sending import asend_input, send_input

__all__ = [
    "AutomaticRunInput",
    "InputReceiver",
    "RunInput",
    "RunInputMetadata",
    "areceive_input",
    "asend_input",
    "input_type",
    "receive_input",
    "send_input",
]
