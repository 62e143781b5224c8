"""Prints the wideband PESQ (ITU-T P.862.2) of pairs of WAV files at 16 kHz: one line for each pair named on standard input."""

import sys
import wave

import numpy
import pesq


def read(name):
    with wave.open(name) as f:
        return numpy.frombuffer(f.readframes(f.getnframes()), dtype="<i2")


for line in sys.stdin:
    said, heard = line.split()
    try:
        print(pesq.pesq(16000, read(said), read(heard), "wb"), flush=True)
    except pesq.PesqError:
        print(0.0, flush=True)
