"""Sounds as WAV, MP3 and Ogg Vorbis files."""

from __future__ import annotations

import io
import wave

import numpy as np

from kantor.errors import ResourceError
from kantor.sample.sound import RATE, Samples

_BLOCK = 1 << 14


def wav_bytes(samples: Samples) -> bytes:
    """A WAV file of 16 bits and two channels: equal samples give equal bytes."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def sound_bytes(samples: Samples, kind: str) -> bytes:
    """A sound file: "wav", "mp3" or "ogg"; these two need a package, see `require_sound`."""
    if kind == "wav":
        return wav_bytes(samples)
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", RATE, 2, format=kind.upper()) as file:
        for start in range(0, len(samples), _BLOCK):  # libsndfile crashes on a minute of Vorbis at once
            file.write(samples[start : start + _BLOCK])
    return buffer.getvalue()


def require_sound(kind: str) -> None:
    """Raises ResourceError if files of this kind cannot be written."""
    try:
        if kind != "wav":
            import soundfile  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: the package is there, its library is not
        do = "pip install 'kantor[sound]', or leave --format out for WAV"
        raise ResourceError(f"--format {kind}", "this kind needs one more package (soundfile)", do) from error
