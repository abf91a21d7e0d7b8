"""What the schema-driven tester cannot ask: a stream without an end, and clients that say nothing.

`live_and_idle.py PORT TURBINE FARM` exits with 0 when, of the service on this port, every event of `/live` is what the
description says, bad input to it is a described problem, and a thousand silent connections keep nobody from an answer.
"""

import http.client
import json
import resource
import socket
import sys
import time
import urllib.parse

import jsonschema_rs

API = "/api/v1"
# A client that waits longer than this has failed, seconds.
BOUND_S = 60
# Silent connections; more than the service serves at once.
IDLE = 1_000
# Files that the script may need beside them.
FILES_BESIDE = 100


def request(port, path, method="GET"):
    """An answer with its whole body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
    connection.request(method, API + path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def validator(description, schema):
    return jsonschema_rs.validator_for({**schema, "components": description["components"]})


def closed(description, name):
    """The schema of that name, which knows its members."""
    schema = description["components"]["schemas"][name]
    return {"$ref": f"#/components/schemas/{name}"}, set(schema["properties"])


def events(port, query, wanted):
    """The first events of the stream until each wanted name has come: (name, data)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
    connection.request("GET", f"{API}/live?{query}", headers={"accept": "text/event-stream"})
    answer = connection.getresponse()
    kind = answer.headers["content-type"]
    assert answer.status == 200, answer.status
    assert kind.split(";")[0] == "text/event-stream", kind
    missing = set(wanted)
    end = time.monotonic() + BOUND_S
    event = {}
    while missing:
        assert time.monotonic() < end, f"waited in vain for {missing}"
        line = answer.readline().decode()
        assert line, "the stream ended"
        line = line.rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            field, _, value = line.partition(":")
            event[field] = value.removeprefix(" ")
            continue
        if event:
            assert set(event) == {"event", "data"}, event
            missing.discard(event["event"])
            yield event["event"], json.loads(event["data"])
            event = {}
    connection.close()


def live(port, description, turbine, farm):
    operation = description["paths"][f"{API}/live"]["get"]
    described = operation["x-events"]
    assert set(described) == {"wall", "alerts", "pipeline", "turbine"}, described
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    seen = set()
    for query in (f"turbine={turbine}", f"farm={farm}", "topics=wall", f"topics=alerts,pipeline&farm={farm}"):
        topics = urllib.parse.parse_qs(query).get("topics", ["wall,alerts,pipeline"])[0].split(",")
        wanted = set(topics) | ({"turbine"} if "turbine=" in query else set())
        for name, data in events(port, query, wanted):
            assert name in wanted, f"{query}: {name} was not asked for"
            schema_name = described[name]["$ref"].rsplit("/", 1)[1]
            schema, members = closed(description, schema_name)
            validator(description, schema).validate(data)
            assert set(data) <= members, f"{name}: {set(data) - members} are not described"
            seen.add(name)
            if name == "wall":
                assert data["t"], "a wall without turbines"
            # the validator refuses what is not of the form
            assert not validator(description, schema).is_valid({**data, next(iter(data)): 1.5})
    assert seen == set(described), seen


def refusals(port, description):
    problem, _ = closed(description, "Problem")
    for query, method, status, field in (
        ("topics=weather", "GET", 400, "topics"),
        ("topics=", "GET", 400, "topics"),
        ("topics=wall,,alerts", "GET", 400, "topics"),
        ("topics=" + "wall," * 2_000 + "wind", "GET", 400, "topics"),
        ("colour=red", "GET", 400, "colour"),
        ("topics=wall&topics=alerts", "GET", 400, "topics"),
        ("turbine=T999", "GET", 404, "turbine"),
        ("farm=nowhere", "GET", 404, "farm"),
        ("turbine=%ff", "GET", 404, "turbine"),
        ("", "POST", 405, None),
    ):
        asked = f"{method} /live?{query[:40]}"
        found, headers, body = request(port, f"/live?{query}", method)
        assert found == status, f"{asked}: {found} {body}"
        assert headers["content-type"] == "application/problem+json", asked
        said = json.loads(body)
        validator(description, problem).validate(said)
        assert said.get("field") == field, f"{asked}: {said}"


def idle(port):
    """Some say nothing, some half of a request: whoever asks is answered, and in the end all of them are let go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + FILES_BESIDE), hard))
    silent = []
    for n in range(IDLE):
        one = socket.create_connection(("127.0.0.1", port), timeout=BOUND_S)
        if n % 2:
            one.sendall(b"GET /api/v1/farms HT")
        silent.append(one)
        if n % 100 == 99:
            status, _, _ = request(port, "/farms")
            assert status == 200, status
    for one in silent:
        one.settimeout(BOUND_S)
        try:
            said = one.recv(1_000)
        except ConnectionResetError:
            said = b""
        assert said in (b"",) or said.startswith(b"HTTP/1.1 408"), said
        one.close()


def main():
    port, turbine, farm = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    _, _, body = request(port, "/openapi.json")
    description = json.loads(body)
    live(port, description, turbine, farm)
    refusals(port, description)
    idle(port)


main()
