// Receives the connector's events with the WebhookReceiver of LiveKit's Node SDK, and writes one line for each.
//
//   node receiver.mjs <package>     with LIVEKIT_API_KEY, LIVEKIT_API_SECRET in the environment
//
// The first line is {"port": 12345}. Then, as requests come: {"event": {...}, "call": {...}} with the event as the SDK
// reads it and the member that it does not know, or {"error": "..."}. It ends with its input.
import { createServer } from 'node:http';

const { WebhookReceiver } = await import(process.argv[2]);
const receiver = new WebhookReceiver(process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);

function tell(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  try {
    const event = await receiver.receive(body, req.headers.authorization);
    tell({ event: event.toJson(), call: JSON.parse(body).call, contentType: req.headers['content-type'] });
    res.writeHead(204).end();
  } catch (e) {
    tell({ error: e.message });
    res.writeHead(401).end();
  }
});
server.listen(0, '127.0.0.1', () => tell({ port: server.address().port }));
process.stdin.resume().on('end', () => process.exit(0));
