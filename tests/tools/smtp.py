"""A real SMTP server (aiosmtpd) that answers 451 to the first message and keeps the rest. Args: LOG.
Prints its port, then writes one JSON line per accepted message, as read back by Python's own mail parser."""
import asyncio
import email
import email.policy
import json
import sys
import time

from aiosmtpd.controller import Controller


class Keep:
    refused = 0

    async def handle_DATA(self, server, session, envelope):
        if Keep.refused == 0:
            Keep.refused = 1
            return "451 try again later"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {p.get_content_type(): p.get_content() for p in mail.walk() if not p.is_multipart()}
        with open(sys.argv[1], "a") as out:
            out.write(json.dumps({
                "to": envelope.rcpt_tos, "headers": {k: str(v) for k, v in mail.items()}, "type": mail.get_content_type(),
                "text": parts.get("text/plain", ""), "html": parts.get("text/html", ""),
            }) + "\n")
        return "250 kept"


controller = Controller(Keep(), hostname="127.0.0.1", port=0)
# aiosmtpd's own start-up check cannot know a port of 0: bind first, then say which.
loop = asyncio.new_event_loop()
server = loop.run_until_complete(loop.create_server(controller.factory, "127.0.0.1", 0))
controller.loop = loop
print(server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
