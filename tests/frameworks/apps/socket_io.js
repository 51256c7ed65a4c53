// Two Socket.IO servers that know of each other through the Redis adapter, and clients on both, over the death of the primary.
//
// Kills the primary (PRIMARY) itself and prints one line of JSON. Whoever loses a connection is told not to come back, and each such loss
// is reported, as is every error but the AMBIGUOUS of a PUBLISH that was on its way.
'use strict';

const http = require('node:http');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createClient } = require('redis');
const { Server } = require('socket.io');
const { io: connect } = require('socket.io-client');

const MESSAGES = 300;
const DEADLINE = 200_000;
const report = { before: 0, after: 0, ambiguous: 0, sockets: [], exceptions: [] };
let over = false;

const note = (who) => (fault) => {
  if (!over) report.exceptions.push(`${who}: ${fault && fault.message ? fault.message : fault}`);
};

// The adapter awaits no PUBLISH, so what becomes of one is told here.
process.on('unhandledRejection', (fault) => {
  if (/^AMBIGUOUS/.test(fault.message)) report.ambiguous += 1;
  else note('rejected')(fault);
});

async function redis(name) {
  const client = createClient({ url: process.env.BROKER, socket: { reconnectStrategy: false } });
  client.on('error', note(name));
  client.on('end', note(`${name} ended`));
  await client.connect();
  return client;
}

async function server(name) {
  const [publisher, subscriber] = [await redis(`${name} publisher`), await redis(`${name} subscriber`)];
  const web = http.createServer();
  const io = new Server(web, { adapter: createAdapter(publisher, subscriber) });
  await new Promise((resolve) => { web.listen(0, '127.0.0.1', resolve); });
  return { io, url: `http://127.0.0.1:${web.address().port}` };
}

async function client(name, url) {
  const socket = connect(url, { reconnection: false, forceNew: true });
  const heard = new Map();
  socket.on('news', (number) => heard.set(number, (heard.get(number) || 0) + 1));
  socket.on('disconnect', note(`${name} disconnected`));
  socket.on('connect_error', note(`${name} connect_error`));
  await new Promise((resolve) => { socket.on('connect', resolve); });
  return { name, socket, heard };
}

async function until(condition, what) {
  const deadline = Date.now() + DEADLINE;
  while (!(await condition())) {
    if (report.exceptions.length || Date.now() > deadline) throw new Error(`waited for: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 2); });
  }
}

async function main() {
  const servers = [await server('one'), await server('two')];
  const places = [0, 0, 1, 1];
  const clients = await Promise.all(places.map((at, number) => client(`client ${number}`, servers[at].url)));
  const everybody = async () => {
    const counts = await Promise.all(servers.map(async ({ io }) => (await io.fetchSockets()).length));
    return counts.every((count) => count === clients.length);
  };
  const all = (first) => clients.every(({ heard }) => {
    for (let number = first; number < first + MESSAGES; number += 1) if (!heard.has(number)) return false;
    return true;
  });
  const publish = (first) => {
    for (let number = first; number < first + MESSAGES; number += 1) servers[number % 2].io.emit('news', number);
  };

  await until(everybody, 'each server knows all clients');
  publish(0);
  await until(() => all(0), 'all messages before the kill');
  report.before = MESSAGES;
  // Some are on their way at the kill. Nobody keeps them, with Redis neither: they may get lost, and come twice to nobody.
  publish(10_000);
  await new Promise((resolve) => { setImmediate(resolve); });
  process.kill(Number(process.env.PRIMARY), 'SIGKILL');
  publish(20_000);
  // A subscription may be made again a moment after the first write is taken.
  let probe = 30_000;
  await until(() => {
    servers[probe % 2].io.emit('news', probe);
    probe += 1;
    const probes = ({ heard }, parity) => [...heard.keys()].some((n) => n >= 30_000 && n % 2 === parity);
    return clients.every((one) => probes(one, 0) && probes(one, 1));
  }, 'both servers are heard again');
  publish(40_000);
  await until(() => all(40_000), 'all messages after the kill');
  report.after = MESSAGES;
  await until(everybody, 'each server still knows all clients');
  for (const { name, heard } of clients) {
    for (const [number, times] of heard) if (times > 1) report.exceptions.push(`${name}: ${number} came ${times} times`);
  }
  over = true;
  report.sockets = clients.map(({ heard }) => heard.size);
}

main().catch(note('main')).finally(() => {
  over = true;
  console.log(JSON.stringify(report));
  process.exit(0);
});
