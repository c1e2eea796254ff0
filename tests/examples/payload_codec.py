"""Encrypt everything that leaves the process: parameters, results, exceptions.

The server, its database and its backups keep what they cannot read. Every process that is to read
it has the key: runners, and whoever asks for a result.

    export PAYLOAD_KEY=$(python -c "import os; print(os.urandom(32).hex())")
    export HEADGATE_RESULTS_PAYLOAD_CODEC=payload_codec:Encrypted
    python payload_codec.py
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headgate import flow, task

NONCE_BYTES = 12


class Encrypted:
    """AES-GCM, under the key in the environment; what was changed on the way is refused."""

    def __init__(self) -> None:
        self._cipher = AESGCM(bytes.fromhex(os.environ["PAYLOAD_KEY"]))

    def encode(self, data: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)  # never the same twice under one key
        return nonce + self._cipher.encrypt(nonce, data, None)

    def decode(self, data: bytes) -> bytes:
        return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)


@task
def look_up(patient: str) -> dict[str, str]:
    return {"patient": patient, "diagnosis": f"{patient} has a cold"}


@flow(durable=True)
def diagnose(patient: str = "Ann Example") -> str:
    return look_up(patient)["diagnosis"]


if __name__ == "__main__":
    print(diagnose())
