"""Reads one request per line from standard input, makes it through LiveKit's Python SDK, writes one result per line.

{"method": "accept", "args": {...}}  ->  {"ok": {...}}  or  {"error": {"type", "status", "code", "message", "metadata"}}

LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET come from the environment. The arguments are the request message in
protobuf's JSON form.
"""

import asyncio
import json
import sys

from google.protobuf.json_format import MessageToDict, ParseDict
from livekit import api
from livekit.protocol.connector_twilio import ConnectTwilioCallRequest
from livekit.protocol.connector_whatsapp import (
    AcceptWhatsAppCallRequest,
    ConnectWhatsAppCallRequest,
    DialWhatsAppCallRequest,
    DisconnectWhatsAppCallRequest,
)


async def main() -> None:
    async with api.LiveKitAPI() as lk:
        methods = {
            "dial": (DialWhatsAppCallRequest, lk.connector.dial_whatsapp_call),
            "accept": (AcceptWhatsAppCallRequest, lk.connector.accept_whatsapp_call),
            "connect": (ConnectWhatsAppCallRequest, lk.connector.connect_whatsapp_call),
            "disconnect": (DisconnectWhatsAppCallRequest, lk.connector.disconnect_whatsapp_call),
            "twilio": (ConnectTwilioCallRequest, lk.connector.connect_twilio_call),
        }
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            message, call = methods[request["method"]]
            try:
                answer = await call(ParseDict(request["args"], message()))
                result = {"ok": MessageToDict(answer)}
            except api.TwirpError as e:
                result = {
                    "error": {
                        "type": type(e).__name__,
                        "status": e.status,
                        "code": e.code,
                        "message": e.message,
                        "metadata": getattr(e, "metadata", {}),
                    }
                }
            print(json.dumps(result), flush=True)


asyncio.run(main())
