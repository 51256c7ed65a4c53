// node-redis under load while the primary changes by order and the proxy drains.
//
//     maint_node_redis.js PORT ADMIN_PORT PID
//
// Orders a switchover, says so, and reads a line; then sends SIGTERM, and waits until the proxy is gone. Prints one line of JSON.
'use strict';

const diagnostics = require('node:diagnostics_channel');
const http = require('node:http');
const net = require('node:net');
const { createClient } = require('redis');
const { version } = require('redis/package.json');

const [port, admin, pid] = process.argv.slice(2, 5).map(Number);
const WRITERS = 4;
const DEADLINE_MS = 60_000;

const notices = {};
const exceptions = [];
const written = new Array(WRITERS).fill(0);
let stop = false;

diagnostics.subscribe('redis.maintenance', ({ type }) => {
  notices[type] = (notices[type] ?? 0) + 1;
});
process.on('unhandledRejection', (fault) => exceptions.push(`unhandled: ${fault}`));

async function write(client, number) {
  while (!stop) {
    try {
      await client.set(`maint:${number}`, String(written[number]));
      written[number] += 1;
    } catch (fault) {
      exceptions.push(`${fault}`);
      return;
    }
  }
}

async function until(what, condition) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      exceptions.push(`not within ${DEADLINE_MS} ms: ${what}`);
      return;
    }
    await new Promise((done) => setTimeout(done, 10));
  }
}

async function more(count) {
  const before = [...written];
  await until(`${count} writes more by each`, () => exceptions.length || written.every((now, i) => now - before[i] >= count));
}

function switchedOver() {
  return new Promise((done) => {
    const options = { port: admin, host: '127.0.0.1', path: '/api/switchover', method: 'POST', headers: { 'X-Redhold': '1' } };
    const request = http.request(options, (response) => {
      response.resume();
      response.on('end', () => done(response.statusCode === 200));
    });
    request.on('error', () => done(false));
    request.end();
  });
}

function isGone() {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy();
      done(false);
    });
    socket.on('error', () => done(true));
  });
}

async function main() {
  const client = createClient({ socket: { host: '127.0.0.1', port }, RESP: 3, maintNotifications: 'enabled' });
  client.on('error', (fault) => exceptions.push(`client: ${fault}`));
  await client.connect();
  const writers = written.map((_, number) => write(client, number));
  await more(100);
  await until('the switchover', switchedOver);
  await more(100);
  console.log('switched');
  await new Promise((done) => process.stdin.once('data', done));
  process.kill(pid, 'SIGTERM');
  await until('the proxy is gone', isGone);
  await more(100);
  stop = true;
  await Promise.all(writers);
  const info = String(await client.sendCommand(['CLIENT', 'INFO']));
  const moved = !info.includes(` laddr=127.0.0.1:${port} `);
  const sum = written.reduce((a, b) => a + b, 0);
  console.log(JSON.stringify({ client: `node-redis ${version}`, written: sum, notices, moved, exceptions }));
  process.exit(0);
}

main();
