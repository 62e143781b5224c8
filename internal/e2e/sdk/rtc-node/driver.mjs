// A room participant of LiveKit's Node rtc library. Reads one request per line from standard input, writes one result per
// line, as the SDKs' drivers do. It ends with its input.
//
//   node driver.mjs     with LIVEKIT_URL in the environment
//   {"method": "join", "args": {"token": "..."}}              encrypted: true encrypts end to end
//   {"method": "publish", "args": {"name": "agent"}}          dtx, red: false turns them off; bitrate in bits per second
//   {"method": "say", "args": {"file": "a.wav"}}              16 bit mono, answered when the last sample has been played
//   {"method": "press", "args": {"keys": "12#"}}               sends DTMF, one packet a key, as agents do
//   {"method": "pressed", "args": {"count": 3}}               answered when so many DTMF events came, with all of them
//   {"method": "mute"}  {"method": "unmute"}  {"method": "unpublish"}  {"method": "leave"}
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { AudioEncoding, FfiRequest, LocalTrackMuteRequest, livekitFfiRequest } from '@livekit/rtc-ffi-bindings';
import {
  AudioFrame, AudioSource, EncryptionType, LocalAudioTrack, Room, RoomEvent, TrackPublishOptions, TrackSource, dispose,
} from '@livekit/rtc-node';

const rate = 16000;
const frameSamples = rate / 100; // libwebrtc works in 10 ms

const keypad = '0123456789*#ABCD'; // in the order of their codes

let room, source, track, publication;
let dtmf = [], onDtmf = () => {};

// samples are those of a WAV file, which hold for nothing else here than what the tests write: PCM16 at the rate above.
function samples(file) {
  const b = readFileSync(file);
  const at = b.indexOf('data') + 8;
  const pcm = new Int16Array(Math.floor((b.length - at) / 2));
  for (let i = 0; i < pcm.length; i++) pcm[i] = b.readInt16LE(at + 2 * i);
  return pcm;
}

// The library can mute a track, its Node part does not show it.
function setMuted(mute) {
  const value = new LocalTrackMuteRequest({ trackHandle: track.ffi_handle.handle, mute });
  livekitFfiRequest(new FfiRequest({ message: { case: 'localTrackMute', value } }).toBinary());
}

const methods = {
  async join({ token, encrypted }) {
    room = new Room();
    room.on(RoomEvent.DtmfReceived, (code, digit, participant) => {
      dtmf.push({ code, digit, from: participant?.identity ?? '' });
      onDtmf();
    });
    const encryption = encrypted && {
      keyProviderOptions: { sharedKey: new TextEncoder().encode('secret of the room') },
      encryptionType: EncryptionType.GCM,
    };
    await room.connect(process.env.LIVEKIT_URL, token, { autoSubscribe: false, dynacast: false, ...(encryption && { encryption }) });
    return { sid: room.localParticipant.sid };
  },
  async publish({ name, dtx = true, red = true, bitrate }) {
    source = new AudioSource(rate, 1);
    track = LocalAudioTrack.createAudioTrack(name, source);
    const options = new TrackPublishOptions({ source: TrackSource.SOURCE_MICROPHONE, dtx, red });
    if (bitrate) options.audioEncoding = new AudioEncoding({ maxBitrate: BigInt(bitrate) });
    publication = await room.localParticipant.publishTrack(track, options);
    await publication.waitForSubscription();
    return { sid: publication.sid };
  },
  async say({ file }) {
    const pcm = samples(file);
    for (let i = 0; i + frameSamples <= pcm.length; i += frameSamples) {
      await source.captureFrame(new AudioFrame(pcm.slice(i, i + frameSamples), rate, 1, frameSamples));
    }
    await source.waitForPlayout();
    return {};
  },
  async press({ keys }) {
    for (const digit of keys) await room.localParticipant.publishDtmf(keypad.indexOf(digit), digit);
  },
  async pressed({ count }) {
    let late = false;
    const timer = setTimeout(() => { late = true; onDtmf(); }, 30_000); // ends a test that hangs, no more
    while (dtmf.length < count && !late) await new Promise((resolve) => { onDtmf = resolve; });
    clearTimeout(timer);
    return { keys: dtmf };
  },
  mute: () => setMuted(true),
  unmute: () => setMuted(false),
  unpublish: () => room.localParticipant.unpublishTrack(publication.sid),
  leave: () => room.disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args } = JSON.parse(line);
  let result;
  try {
    result = { ok: (await methods[method](args ?? {})) ?? {} };
  } catch (e) {
    result = { error: { type: e.constructor.name, message: e.message } };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
await dispose();
process.exit(0); // libwebrtc's threads do not end by themselves
