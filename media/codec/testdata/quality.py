"""Quality against cost of Opus encoder settings: the tables of docs/audio.md, "Encoder settings".

    python3 -m venv venv && venv/bin/pip install numpy scipy pystoi pesq
    venv/bin/python media/codec/testdata/quality.py            # from the root of the repository
    LIBOPUS=/path/libopus.so.0 venv/bin/python ...             # another libopus

The speech of testdata/audio (15 s, 16 kHz) is first coded as a participant's client does: VOIP, 48 kHz, complexity 9,
FEC for 10 %, at 32 or 24 kb/s. Decoded, it is what our encoder gets. Its packets are lost at random, 3 times with
different seeds; the receiver decodes with FEC where the next packet came, else conceals. The result is compared with
the speech at the very beginning, after alignment: STOI (Taal 2011), ESTOI (Jensen 2016), PESQ wideband (ITU-T P.862.2).
Time is CPU time per frame of 20 ms, the least of two runs without their slowest 5 %.
"""

import ctypes
import os
import time
import wave

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import resample_poly

lib = ctypes.CDLL(os.environ.get("LIBOPUS", "libopus.so.0"))
lib.opus_get_version_string.restype = ctypes.c_char_p
lib.opus_encoder_create.restype = lib.opus_decoder_create.restype = ctypes.c_void_p
VOIP, CELT = 2048, 2051  # OPUS_APPLICATION_VOIP, OPUS_APPLICATION_RESTRICTED_LOWDELAY
BITRATE, COMPLEXITY, FEC, LOSS = 4002, 4010, 4012, 4014
PUSH = 48000  # the first frame with FEC, as in media/opus


def at(samples, i):
    return ctypes.cast(samples.ctypes.data + 2 * i, ctypes.POINTER(ctypes.c_int16))


def encode(pcm, rate, app, bitrate, complexity, fec, loss):
    error = ctypes.c_int()
    enc = ctypes.c_void_p(lib.opus_encoder_create(rate, 1, app, ctypes.byref(error)))

    def ctl(request, value):
        if lib.opus_encoder_ctl(enc, request, ctypes.c_int(value)) != 0:
            raise ValueError((request, value))

    ctl(COMPLEXITY, complexity), ctl(FEC, int(fec)), ctl(LOSS, loss)
    ctl(BITRATE, max(bitrate, PUSH) if fec else bitrate)
    n, room = rate // 50, ctypes.create_string_buffer(1500)
    pcm = np.ascontiguousarray(pcm[: len(pcm) // n * n], dtype=np.int16)
    packets, spent = [], []
    for i in range(0, len(pcm), n):
        start = time.thread_time()
        size = lib.opus_encode(enc, at(pcm, i), n, room, len(room))
        spent.append(time.thread_time() - start)
        packets.append(room.raw[:size])
        if i == 0:
            ctl(BITRATE, bitrate)
    lib.opus_encoder_destroy(enc)
    return packets, np.mean(np.sort(spent)[: len(spent) * 95 // 100]) * 1e6


def decode(packets, rate, lost):
    error = ctypes.c_int()
    dec = ctypes.c_void_p(lib.opus_decoder_create(rate, 1, ctypes.byref(error)))
    n = rate // 50
    pcm = np.zeros(len(packets) * n, dtype=np.int16)
    for i, packet in enumerate(packets):
        data, fec = packet, 0
        if lost[i]:
            following = i + 1 < len(packets) and not lost[i + 1]
            data, fec = (packets[i + 1], 1) if following else (None, 0)
        lib.opus_decode(dec, data, len(data or b""), at(pcm, i * n), n, fec)
    lib.opus_decoder_destroy(dec)
    return pcm


def losses(n, share, seed):
    lost = np.random.default_rng(seed).random(n) < share
    lost[:5] = False
    return lost


def resample(pcm, up, down):
    return np.clip(np.round(resample_poly(pcm.astype(float), up, down)), -32768, 32767).astype(np.int16)


def score(heard):
    n = min(len(speech), len(heard))
    a, b = speech[:n].astype(float), heard[:n].astype(float)
    lag = np.argmax(np.fft.irfft(np.fft.rfft(b, 2 * n) * np.conj(np.fft.rfft(a, 2 * n)))[:1600])
    a, b = a[: n - lag], b[lag:]
    return stoi(a, b, 16000), stoi(a, b, 16000, extended=True), pesq(16000, a / 32768, b / 32768, "wb")


def has_fec(packet):
    return packet[0] >> 3 < 16 and len(packet) > 1 and bool(packet[1] & 0x40)  # 20 ms, mono


def bandwidth(packet):
    config = packet[0] >> 3
    return "NMW"[config // 4] if config < 12 else "SF"[(config - 12) // 2] if config < 16 else "NWSF"[(config - 16) // 4]


def client(bitrate, rate, share=0.0, seed=0):
    packets, _ = encode(resample(speech, 3, 1), 48000, VOIP, bitrate, 9, True, 10)
    return decode(packets, rate, losses(len(packets), share, seed))


def row(first, rate, app, bitrate, complexity, fec, loss, shares=(0, 0.05, 0.2)):
    pcm = client(first, rate)
    runs = [encode(pcm, rate, app, bitrate, complexity, fec, loss) for _ in range(2)]
    packets = runs[0][0]
    bands = [bandwidth(p) for p in packets]
    cells = [
        "CELT" if app == CELT else "VOIP", f"{rate // 1000}", f"{bitrate / 1000:.0f}", f"{complexity}",
        f"{loss}", "yes" if fec else "no", f"{sum(map(len, packets)) / len(packets) * 0.4:.1f}",
        f"{min(r[1] for r in runs):.0f}", f"{100 * np.mean([has_fec(p) for p in packets]):.0f} %",
        max(set(bands), key=bands.count),
    ]
    for share in shares:
        s = np.mean([score(resample(decode(packets, rate, losses(len(packets), share, seed)), 16000, rate))
                     for seed in ((1, 2, 3) if share else (0,))], axis=0)
        cells.append(f"{s[0]:.4f} / {s[2]:.2f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def table(title, rows):
    print(f"\n{title}\n")
    print("| mode | kHz | kb/s set | complexity | loss told | FEC | kb/s | us | FEC in | band | 0 % | 5 % | 20 % |")
    print("| --- " * 13 + "|")
    for r in rows:
        row(*r)


def chain():
    print("\nA FEC stream of 32 kb/s that loses packets before us: decoded at 16 kHz, and coded again to the phone\n")
    print("| lost before us | decoded | then to the phone |\n| --- | --- | --- |")
    for share in (0, 0.05, 0.2):
        decoded, phone = [], []
        for seed in (1, 2, 3) if share else (0,):
            pcm = client(32000, 16000, share, seed)
            packets, _ = encode(pcm, 16000, VOIP, 22000, 5, False, 5)
            decoded.append(score(pcm))
            phone.append(score(decode(packets, 16000, [False] * len(packets))))
        a, b = np.mean(decoded, axis=0), np.mean(phone, axis=0)
        print(f"| {100 * share:.0f} % | {a[0]:.4f} / {a[2]:.2f} | {b[0]:.4f} / {b[2]:.2f} |", flush=True)


def read(name):
    with wave.open(f"testdata/audio/{name}.wav") as w:
        return np.frombuffer(w.readframes(w.getnframes()), dtype=np.int16)


speech = np.concatenate([read("caller"), read("agent")])

if __name__ == "__main__":
    print(lib.opus_get_version_string().decode())
    table("Bitrate and complexity", [(32000, 16000, VOIP, b, c, False, 5, (0,)) for b in (16000, 20000, 22000, 24000, 32000)
                                     for c in (0, 2, 3, 5, 6, 9)])
    table("Loss told and FEC", [(32000, 16000, VOIP, 22000, 5, f, p) for f in (False, True) for p in (0, 2, 5, 10, 20) if p or not f])
    table("FEC at other bitrates", [(32000, 16000, VOIP, b, 5, True, p) for b in (16000, 20000, 24000, 32000) for p in (5, 10)])
    table("Sample rate", [(32000, r, VOIP, b, 5, f, 5) for r in (16000, 48000) for b in (22000, 32000) for f in (False, True)])
    table("Into the room, after a first coding at 24 kb/s",
          [(24000, r, CELT, b, c, False, p) for r, b, c, p in
           ((48000, 48000, 5, 0), (16000, 32000, 5, 0), (16000, 48000, 2, 0), (16000, 48000, 5, 0), (16000, 48000, 5, 2),
            (16000, 48000, 5, 5), (16000, 48000, 9, 2), (16000, 64000, 5, 2))]
          + [(24000, 16000, VOIP, b, 5, f, 5) for b in (32000, 48000) for f in (False, True)]
          + [(24000, 48000, VOIP, 32000, 9, False, 0)])
    chain()
