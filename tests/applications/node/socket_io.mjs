// Socket.IO on several servers that know of each other by its Redis adapters: what is said on one is heard on all.
//
//    socket_io.mjs HOST PORT PROTOCOL
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connectTo } from "socket.io-client";
import { say, until } from "./say.mjs";

const [host, port, protocol] = process.argv.slice(2);
const SERVERS = 3;
const MESSAGES = 200;
const sorted = (values) => [...values].sort();

const redis = () => createClient({ socket: { host, port: Number(port) }, RESP: Number(protocol) }).connect();
const ADAPTERS = {
  channels: async () => createAdapter(await redis(), await redis()),
  sharded: async () => createShardedAdapter(await redis(), await redis()),
  streams: async () => createStreamsAdapter(await redis(), { heartbeatInterval: 500 }),
};

async function started(adapter) {
  const http = createServer();
  const io = new Server(http, { adapter });
  io.on("connection", (socket) => {
    socket.on("join", async (room, done) => done(await socket.join(room)));
    socket.on("say", (n) => io.to("room").emit("said", socket.data.name, n));
    socket.on("name", (name, done) => done((socket.data.name = name)));
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { io, url: `http://127.0.0.1:${http.address().port}` };
}

async function person(url, name) {
  const socket = connectTo(url, { transports: ["websocket"], forceNew: true });
  const heard = {};
  socket.on("said", (who, n) => (heard[who] ??= []).push(n));
  await socket.emitWithAck("name", name);
  return { socket, heard };
}

async function chat(kind) {
  const servers = [];
  for (let i = 0; i < SERVERS; i++) servers.push(await started(await ADAPTERS[kind]()));
  const known = () => Promise.all(servers.map(({ io }) => io.of("/").adapter.serverCount()));
  await until(async () => (await known()).every((n) => n === SERVERS));
  const people = [];
  for (const [i, { url }] of servers.entries()) people.push(await person(url, `p${i}`));
  const outside = await person(servers[0].url, "outside");
  for (const { socket } of people) await socket.emitWithAck("join", "room");
  const seen = await servers[0].io.in("room").fetchSockets();
  say(`${kind}: in the room`, sorted(seen.map((socket) => socket.data.name)));

  for (let n = 0; n < MESSAGES; n++) for (const { socket } of people) socket.emit("say", n);
  const all = ({ heard }) => people.every((_, i) => heard[`p${i}`]?.length === MESSAGES);
  await until(() => people.every(all));
  const inOrder = ({ heard }) => Object.values(heard).every((said) => said.every((n, i) => n === i));
  say(`${kind}: heard`, people.map(inOrder), Object.keys(outside.heard).length);

  for (const [i, { io }] of servers.entries()) io.on("whoAreYou", (reply) => reply(`server ${i}`));
  say(`${kind}: servers`, sorted(await servers[1].io.serverSideEmitWithAck("whoAreYou")));
  servers[2].io.in("room").socketsLeave("room");
  await until(async () => (await servers[0].io.in("room").fetchSockets()).length === 0);
  servers[1].io.disconnectSockets(true);
  await until(() => [...people, outside].every(({ socket }) => !socket.connected));
  say(`${kind}: gone`, people.map(({ socket }) => socket.connected));
  for (const { io } of servers) await io.close();
}

// The adapter on streams does not understand what node-redis makes of XREAD's reply in RESP3.
for (const kind of Object.keys(ADAPTERS)) if (kind !== "streams" || protocol === "2") await chat(kind);
say("end");
process.exit(0);
