"""The smallest agent that shows a call works in both directions: it says again what it hears, one second later.

It registers with LiveKit as "echo", which compose/rules.yaml names. Where it echoes, yours has speech recognition, a language
model and a voice: LiveKit's documentation on agents has those, and they work the same with these calls.
"""

import asyncio
import logging

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, cli

RATE = 48000
DELAY = 1.0  # seconds

log = logging.getLogger("echo")
# Its own health check, by default on this port of all addresses.
server = AgentServer(host="127.0.0.1", port=8081)


@server.rtc_session(agent_name="echo")
async def converse(ctx: JobContext) -> None:
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)

    # The track is there before the caller is: with wait_until_answered the call is answered when somebody can be heard.
    source = rtc.AudioSource(RATE, 1)
    microphone = rtc.LocalAudioTrack.create_audio_track("echo", source)
    await ctx.room.local_participant.publish_track(
        microphone, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    )

    caller = await ctx.wait_for_participant()
    log.info("%s is here", caller.identity)
    heard = rtc.AudioStream.from_participant(
        participant=caller, track_source=rtc.TrackSource.SOURCE_MICROPHONE, sample_rate=RATE, num_channels=1
    )
    silence = rtc.AudioFrame.create(RATE, 1, RATE // 50)
    for _ in range(int(DELAY * 50)):
        await source.capture_frame(silence)
    async for event in heard:
        await source.capture_frame(event.frame)
    log.info("%s is gone", caller.identity)


if __name__ == "__main__":
    cli.run_app(server)
