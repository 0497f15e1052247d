"""A schema registry's answers (`GET /schemas/ids/N`, `/schemas/guids/G`) from a file. Args: FILE SWITCH. While the file
SWITCH is missing it answers 503. Prints its address."""
import http.server
import json
import os
import sys

schemas = json.load(open(sys.argv[1])).values()
known = {f"/schemas/ids/{s['schema_id']}": s for s in schemas} | {f"/schemas/guids/{s['guid']}": s for s in schemas}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = known.get(self.path)
        if not os.path.exists(sys.argv[2]):
            status, answer = 503, {"error_code": 50301, "message": "away"}
        elif found is None:
            status, answer = 404, {"error_code": 40403, "message": "Schema not found"}
        else:
            status, answer = 200, {"schema": found["schema"]}
            if found["type"] != "AVRO":
                answer["schemaType"] = found["type"]
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
