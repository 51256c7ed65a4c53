// A BullMQ application: a queue and a worker.
//
//     bullmq_jobs.js work                     a worker, until SIGTERM
//     bullmq_jobs.js enqueue FIRST COUNT      enqueues; prints what became of it as one line of JSON
'use strict';

const { Queue, Worker } = require('bullmq');
const Redis = require('ioredis');

const broker = new URL(process.env.BROKER);
const connection = { host: broker.hostname, port: Number(broker.port) };

function work() {
  const ledger = new Redis({ port: Number(process.env.LEDGER) });
  const worker = new Worker('jobs', (job) => ledger.hincrby('done', job.data.number, 1), {
    connection: { ...connection, maxRetriesPerRequest: null },
    concurrency: 20,
    // A job whose worker was told that nobody knows comes back after half a minute by default.
    lockDuration: 4000,
    stalledInterval: 2000,
    maxStalledCount: 5,
  });
  worker.on('error', (fault) => console.error(`error: ${fault.message}`));
  worker.on('failed', (job, fault) => console.error(`failed: ${job && job.data.number}: ${fault.message}`));
  process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
}

async function enqueue(first, count) {
  const queue = new Queue('jobs', { connection });
  queue.on('error', (fault) => report.exceptions.push(fault.message));
  const report = { acknowledged: [], ambiguous: [], exceptions: [] };
  const add = async (number) => {
    try {
      await queue.add('job', { number }, { removeOnComplete: true });
      report.acknowledged.push(number);
    } catch (fault) {
      if (fault.message.includes('AMBIGUOUS')) report.ambiguous.push(number);
      else report.exceptions.push(`${fault.name}: ${fault.message}`);
    }
  };
  // Some at a time: one that waits for each is slower than the worker.
  let next = first;
  const lane = async () => { while (next < first + count) { const number = next; next += 1; await add(number); } };
  await Promise.all(Array.from({ length: 8 }, lane));
  console.log(JSON.stringify(report));
  process.exit(0);
}

if (process.argv[2] === 'work') work();
else enqueue(Number(process.argv[3]), Number(process.argv[4]));
