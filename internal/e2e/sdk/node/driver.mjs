// Reads one request per line from standard input, makes it through LiveKit's Node SDK, writes one result per line.
//
//   node driver.mjs <package>     with LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET in the environment
//   {"method": "accept", "args": {...}}  ->  {"ok": {...}}  or  {"error": {"type", "status", "code", "message", "metadata"}}
//
// The arguments are the SDK's own option names, so that what is tested is what applications write.
import { createInterface } from 'node:readline';

const sdk = await import(process.argv[2]);
const connector = new sdk.ConnectorClient(process.env.LIVEKIT_URL, process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);

// The enum's numbers; versions before 2.17 have no reason and ignore the third argument.
const reasons = { BUSINESS_INITIATED: 0, USER_INITIATED: 1 };

const methods = {
  dial: (a) => connector.dialWhatsAppCall(a),
  accept: (a) => connector.acceptWhatsAppCall(a),
  connect: (a) => connector.connectWhatsAppCall(a.whatsappCallId, a.sdp),
  disconnect: (a) => connector.disconnectWhatsAppCall(a.whatsappCallId, a.whatsappApiKey ?? '', reasons[a.disconnectReason]),
  twilio: (a) => connector.connectTwilioCall(a),
};

function describe(e) {
  return {
    type: e.constructor.name,
    status: e.status ?? 0,
    code: e.code ?? '',
    message: e.message,
    metadata: e.metadata ?? {},
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args } = JSON.parse(line);
  let result;
  try {
    const res = await methods[method](args);
    result = { ok: typeof res?.toJson === 'function' ? res.toJson() : res };
  } catch (e) {
    result = { error: describe(e) };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
