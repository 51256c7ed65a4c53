// ioredis as an application uses it, over the death of the primary.
//
//     ioredis.js HOST PORT PRIMARY_PID     (NODE_PATH names the folder of node_modules)
//
// Kills the primary itself, at an instant at which enough writes were acknowledged and enough are in flight. Prints one
// line of JSON. Every error that reaches application code, and every connection that ends, is reported: a connection
// is told not to come back, so that nothing is hidden by a second try.
'use strict';

const Redis = require('ioredis');
const { version } = require('ioredis/package.json');

const [host, port, primary] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const WRITERS = 6;
const DEPTH = 4;
const BEFORE = 1000;
const AFTER = 1000;
const IN_FLIGHT = 10;
const DEADLINE = 30_000;

const report = {
  client: `ioredis ${version}`,
  acknowledged: 0,
  ambiguous: 0,
  in_flight: 0,
  exceptions: [],
  longest_gap_ms: 0,
  messages: 0,
  jobs: 0,
  scanned: 0,
  writes: {},
};
let inFlight = 0;
let stopped = false;
const clients = [];

function connect(name) {
  const client = new Redis({ host, port, retryStrategy: null, maxRetriesPerRequest: 0 });
  const note = (what) => (fault) => {
    if (!stopped) report.exceptions.push(`${name}: ${what}${fault ? `: ${fault.message}` : ''}`);
  };
  client.on('error', note('error'));
  client.on('close', note('connection closed'));
  clients.push(client);
  return client;
}

function finish(code) {
  stopped = true;
  console.log(JSON.stringify(report));
  clients.forEach((client) => client.disconnect());
  process.exit(code);
}

async function until(condition, what) {
  const deadline = Date.now() + DEADLINE;
  while (!condition()) {
    if (report.exceptions.length || Date.now() > deadline) {
      report.exceptions.push(`waited for: ${what}; ${inFlight} in flight`);
      finish(1);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function isAmbiguous(fault) {
  if (!fault.message.startsWith('AMBIGUOUS')) return false;
  report.ambiguous += 1;
  return true;
}

async function writer(number) {
  const client = connect(`writer ${number}`);
  const verdicts = (report.writes[number] = []);
  while (!stopped) {
    const first = verdicts.length;
    const pipeline = client.pipeline();
    for (let sequence = first; sequence < first + DEPTH; sequence += 1) {
      pipeline.set(`js:${number}:${sequence}`, sequence);
    }
    inFlight += DEPTH;
    const start = Date.now();
    const replies = await pipeline.exec();
    report.longest_gap_ms = Math.max(report.longest_gap_ms, Date.now() - start);
    inFlight -= DEPTH;
    for (const [fault, reply] of replies) {
      if (reply === 'OK') {
        verdicts.push('ok');
        report.acknowledged += 1;
      } else if (isAmbiguous(fault)) {
        verdicts.push('ambiguous');
      } else {
        throw fault;
      }
    }
  }
}

async function transactions() {
  const client = connect('transactions');
  report.transactions = 0;
  while (!stopped) {
    try {
      await client.multi().incr('js:counter').get('js:counter').exec();
      report.transactions += 1;
    } catch (fault) {
      if (!isAmbiguous(fault)) throw fault;
    }
  }
}

async function worker() {
  const client = connect('worker');
  for (;;) {
    const [, job] = await client.blpop('js:jobs', 0);
    report.jobs += 1;
    if (job === 'last') return;
  }
}

async function main() {
  const fail = (fault) => {
    if (!stopped) report.exceptions.push(`${fault.name}: ${fault.message}`);
  };
  const subscriber = connect('subscriber');
  let heardAfter = false;
  subscriber.on('message', (_channel, text) => {
    report.messages += 1;
    heardAfter ||= text === 'after';
  });
  await subscriber.subscribe('js:news');
  const writers = [];
  for (let number = 0; number < WRITERS; number += 1) writers.push(writer(number).catch(fail));
  writers.push(transactions().catch(fail));
  let worked = false;
  worker().then(() => { worked = true; }, fail);
  const client = connect('main');
  await client.publish('js:news', 'before');
  await client.rpush('js:jobs', 'first');
  await until(() => report.messages && report.jobs, 'message and job');
  await until(() => report.acknowledged >= BEFORE && inFlight >= IN_FLIGHT, 'enough writes to make the kill count');
  report.in_flight = inFlight;
  process.kill(primary, 'SIGKILL');
  const goal = report.acknowledged + AFTER;
  await until(() => report.acknowledged >= goal, 'writes go on');
  await client.rpush('js:jobs', 'last');
  await until(() => worked, 'the parked worker gets its job');
  const publishing = (async () => {
    while (!heardAfter && !stopped) await client.publish('js:news', 'after');
  })();
  await until(() => heardAfter, 'the subscriber hears the new primary');
  await publishing;
  stopped = true;
  await Promise.all(writers);
  for await (const keys of client.scanStream({ match: 'js:0:*', count: 500 })) report.scanned += keys.length;
  client.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  report.script = await client.addTo('js:script', 7);
  finish(report.exceptions.length ? 1 : 0);
}

main().catch((fault) => {
  report.exceptions.push(`${fault.name}: ${fault.message}`);
  finish(1);
});
