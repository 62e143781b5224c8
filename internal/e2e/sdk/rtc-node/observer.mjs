// Watches the other participants of a room with LiveKit's Node rtc library, as an agent does, and writes one line for each
// thing that happens to them. It ends with its input.
//
//   node observer.mjs <token>     with LIVEKIT_URL in the environment
//
// The first line is {"event": "joined"}. Then {"event": "connected" | "changed" | "disconnected", "identity", "kind",
// "kindDetails", "attributes", "reason"}: all attributes as they are at that moment, and why somebody left.
import { DisconnectReason, ParticipantKind, ParticipantKindDetail, Room, RoomEvent, dispose } from '@livekit/rtc-node';

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const describe = (event, p) => tell({
  event,
  identity: p.identity,
  kind: ParticipantKind[p.kind],
  kindDetails: p.kindDetails.map((d) => ParticipantKindDetail[d]),
  attributes: { ...p.attributes },
  reason: DisconnectReason[p.disconnectReason],
});

const room = new Room();
room.on(RoomEvent.ParticipantConnected, (p) => describe('connected', p));
room.on(RoomEvent.ParticipantAttributesChanged, (_, p) => describe('changed', p));
room.on(RoomEvent.ParticipantDisconnected, (p) => describe('disconnected', p));
await room.connect(process.env.LIVEKIT_URL, process.argv[2], { autoSubscribe: false, dynacast: false });
tell({ event: 'joined' });
process.stdin.resume().on('end', async () => {
  await room.disconnect();
  await dispose();
  process.exit(0); // libwebrtc's threads do not end by themselves
});
