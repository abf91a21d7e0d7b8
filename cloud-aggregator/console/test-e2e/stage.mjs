// The real service with a small fleet of real agents, each a process of its own, and links that can be cut.
// Invariants: what is started here ends with the tests, whatever their outcome (the processes are tied to this one's
// life); nothing is waited for by time alone.

import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Long enough for a machine with other work; what is waited for is a condition, never a time. */
export const BOUND_MS = 120_000;

const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
export const PROFILE = join(REPOSITORY, "hardware/profiles/onshore-3mw.toml");
/** A turbine is shown as silent after so many seconds: a test waits for it. */
const STALE_AFTER_S = 8;

/** Gearbox oil pressure is low from a few seconds after the agent's start. */
const FAULT = '\n[[source.fault]]\nchannel = "gearbox_oil_pressure"\nat_s = 3.0\nlasts_s = 3600.0\nkind = "offset"\namount = -3.0\n';

/** Four turbines that speak, and one whose gateway never starts. */
const GATEWAYS = [
  { id: "GW-NORTH", farm: "north", turbines: ["T001", "T002"], faults: { T002: FAULT } },
  { id: "GW-SOUTH-1", farm: "south", turbines: ["T003"] },
  { id: "GW-SOUTH-2", farm: "south", turbines: ["T004"] },
  { id: "GW-NEVER", farm: "north", turbines: ["T005"], never: true },
];

export class Stage {
  /** Starts the service; no gateway yet. */
  static async open() {
    const bin = process.env.WINDLASS_BIN;
    if (!bin) throw new Error("WINDLASS_BIN: expected the folder of the built programs; `cargo xtask test` sets it");
    const stage = new this(bin, mkdtempSync(join(tmpdir(), "windlass-console-")));
    try {
      await stage.prepare();
      await stage.startCloud();
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  constructor(bin, root) {
    this.bin = bin;
    this.root = root;
    this.processes = new Map();
    this.links = new Map();
  }

  async prepare() {
    const [broker, metrics, console_] = [await freePort(), await freePort(), await freePort()];
    this.broker = broker;
    this.url = `http://127.0.0.1:${console_}`;
    mkdirSync(join(this.root, "cloud"));
    const list = (names) => names.map((n) => JSON.stringify(n)).join(", ");
    let fleet = `profiles = [${list([PROFILE])}]\n`;
    for (const farm of ["north", "south"]) {
      fleet += `\n[[farm]]\nid = "${farm}"\nname = "Farm ${farm}"\ntimezone = "Europe/Berlin"\n`;
      this.links.set(farm, await Link.open(broker));
    }
    for (const g of GATEWAYS) fleet += `\n[[gateway]]\nid = "${g.id}"\nfarm = "${g.farm}"\nturbines = [${list(g.turbines)}]\n`;
    writeFileSync(join(this.root, "cloud/fleet.toml"), fleet);
    this.writeCloud({ broker, metrics, console: console_, stale: STALE_AFTER_S });
    for (const g of GATEWAYS) {
      mkdirSync(join(this.root, g.id, "disk"), { recursive: true });
      let text = `[gateway]\nid = "${g.id}"\n`;
      for (const id of g.turbines) text += `\n[[turbine]]\nid = "${id}"\nprofile = ${JSON.stringify(PROFILE)}\n`;
      text += `\n[outbox]\npath = "disk/outbox.db"\nfree_min_bytes = 0\n\n[uplink]\nurl = "mqtt://127.0.0.1:${this.links.get(g.farm).port}"\n`;
      text += `keep_alive_s = 5\nack_timeout_s = 5\nretry_delay_max_s = 2\n\n[status]\nsocket = "edge.sock"\n`;
      g.turbines.forEach((id, i) => {
        text += `\n[[source]]\nname = "sim-${id}"\nkind = "simulator"\nturbine = "${id}"\nseed = ${i + 1}\n${g.faults?.[id] ?? ""}`;
      });
      writeFileSync(join(this.root, g.id, "windlass-edge.toml"), text);
    }
  }

  /** The aggregator's settings; its fleet file lies beside them. */
  writeCloud({ broker, metrics, console: console_, stale, external = false }) {
    const own = `[broker]\nlisten = "127.0.0.1:${broker}"`;
    const other = `[mqtt]\nurl = "mqtt://127.0.0.1:${broker}"\nclient_id = "ingest"`;
    writeFileSync(join(this.root, "cloud/detectors.toml"), readFileSync(join(REPOSITORY, "cloud-aggregator/detectors.example.toml")));
    writeFileSync(
      join(this.root, "cloud/windlass-cloud.toml"),
      `[data]\ndir = "data"\n\n[fleet]\nfile = "fleet.toml"\n\n[log]\npartitions = 2\n\n${external ? other : own}\n
[process]\nsettle_wait_s = 5\nresend_wait_s = 10\nsnapshot_every_s = 5\ndetectors = "detectors.toml"\n\n[lake]\ncut_every_s = 5\n
[http]\nlisten = "127.0.0.1:${metrics}"\n\n[console]\nlisten = "127.0.0.1:${console_}"\nstale_after_s = ${stale}\n`,
    );
  }

  start(name, program, args = ["run", "--config", join(this.root, name, `${program}.toml`)]) {
    const dir = join(this.root, name);
    const log = createWriteStream(join(dir, "log"), { flags: "a" });
    // Tied to this process: it dies with it. A name is one of ours, a path one of the machine's.
    const path = program.startsWith("/") ? program : join(this.bin, program);
    const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", path, ...args], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    child.ended = new Promise((done) => child.once("exit", (code, signal) => done(signal ?? code)));
    this.processes.set(name, child);
  }

  log(name) {
    return readFileSync(join(this.root, name, "log"), "utf8").slice(-4_000);
  }

  async startCloud() {
    this.start("cloud", "windlass-cloud");
    await until(
      "the service answers",
      async () => {
        const child = this.processes.get("cloud");
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`windlass-cloud ended:\n${this.log("cloud")}`);
        return (await fetch(`${this.url}/api/v1/farms`).catch(() => null))?.ok;
      },
      () => this.log("cloud"),
    );
  }

  startGateways() {
    for (const g of GATEWAYS) if (!g.never) this.start(g.id, "windlass-edge");
  }

  async kill(name) {
    const child = this.processes.get(name);
    this.processes.delete(name);
    child.kill("SIGKILL");
    await child.ended;
  }

  /** Connections stay, nothing flows: what a lost radio link looks like. */
  cut(farm) {
    this.links.get(farm).silent = true;
  }

  heal(farm) {
    this.links.get(farm).mend();
  }

  /** A message of a stranger, with markup where its topic should name an epoch. */
  async garbage(markup) {
    await publish(this.broker, `wl1/up/GW-NORTH/T001/${markup}/1`, "no record");
  }

  async get(path) {
    const response = await fetch(`${this.url}/api/v1${path}`);
    return response.json();
  }

  async post(path, body) {
    const response = await fetch(`${this.url}/api/v1${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  }

  /** A way to the console that can be cut. */
  async consoleLink() {
    return Link.open(Number(new URL(this.url).port));
  }

  async close() {
    for (const name of [...this.processes.keys()]) await this.kill(name);
    for (const link of this.links.values()) link.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Asks until the answer is truthy; gives it. */
export async function until(what, ask, more = () => "") {
  const end = Date.now() + BOUND_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${BOUND_MS / 1000} s in vain: ${what}\n${more()}`);
    await new Promise((next) => setTimeout(next, 200));
  }
}

export async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** A farm's link to the broker. */
class Link {
  static async open(target) {
    const link = new Link();
    link.silent = false;
    link.pairs = new Set();
    link.server = createServer((near) => link.join(near, target));
    await new Promise((ready) => link.server.listen(0, "127.0.0.1", ready));
    link.port = link.server.address().port;
    return link;
  }

  join(near, target) {
    const far = connect(target, "127.0.0.1");
    const pair = [near, far];
    this.pairs.add(pair);
    const end = () => {
      near.destroy();
      far.destroy();
      this.pairs.delete(pair);
    };
    for (const [from, to] of [pair, [far, near]]) {
      from.on("data", (bytes) => {
        if (!this.silent) to.write(bytes);
      });
      from.on("error", end);
      from.on("close", end);
    }
  }

  /** What was swallowed is gone: the connections that missed it are closed. */
  mend() {
    this.silent = false;
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
  }

  close() {
    this.mend();
    this.server.close();
  }
}

/** One MQTT 3.1.1 session: connect, publish with QoS 1, wait for the acknowledgement. */
async function publish(port, topic, text) {
  const string = (s) => {
    const bytes = Buffer.from(s);
    return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
  };
  const packet = (kind, body) => {
    const length = [];
    let rest = body.length;
    do {
      length.push((rest % 128) | (rest >= 128 ? 128 : 0));
      rest = Math.floor(rest / 128);
    } while (rest > 0);
    return Buffer.concat([Buffer.from([kind, ...length]), body]);
  };
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(BOUND_MS, () => socket.destroy(new Error("the broker does not answer")));
  const answer = (kind) =>
    new Promise((done, fail) => {
      socket.once("data", (bytes) => (bytes[0] === kind ? done() : fail(new Error(`the broker answered with packet ${bytes[0]}`))));
      socket.once("error", fail);
    });
  const connected = answer(0x20);
  socket.write(packet(0x10, Buffer.concat([string("MQTT"), Buffer.from([4, 2, 0, 30]), string("stranger")])));
  await connected;
  const acknowledged = answer(0x40);
  socket.write(packet(0x32, Buffer.concat([string(topic), Buffer.from([0, 1]), Buffer.from(text)])));
  await acknowledged;
  socket.end();
}
