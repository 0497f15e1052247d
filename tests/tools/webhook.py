"""A receiver that verifies with the published library. Args: KEY LOG STATUSES (comma-separated, the last one stays).
Prints its address, then writes one JSON line per request."""
import http.server
import json
import sys

from standardwebhooks.webhooks import Webhook

key, log, statuses = sys.argv[1], sys.argv[2], [s.split(":") for s in sys.argv[3].split(",")]


class Handler(http.server.BaseHTTPRequestHandler):
    seen = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            Webhook(key).verify(body, dict(self.headers.items()))
            verified = True
        except Exception as error:
            verified = repr(error)
        status = statuses[min(Handler.seen, len(statuses) - 1)]
        Handler.seen += 1
        with open(log, "a") as out:
            out.write(json.dumps({
                "id": self.headers["webhook-id"], "timestamp": int(self.headers["webhook-timestamp"]), "verified": verified,
                "answer": int(status[0]), "body": json.loads(body), "user_agent": self.headers["user-agent"],
            }) + "\n")
        self.send_response(int(status[0]))
        if len(status) > 1:
            self.send_header("retry-after", status[1])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
server.serve_forever()
