// The words of tests/clients/README.md, for the scripts in JavaScript.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const report = {
  WRITERS: 6,
  DEPTH: 4,
  ADD: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  host: process.argv[2],
  port: Number(process.argv[3]),
  over: false,

  say(...words) {
    fs.writeSync(1, `${words.join(' ').replaceAll('\n', ' ')}\n`);
  },

  // NODE_PATH is the library's node_modules; not every library lets its package.json be required.
  version(name) {
    return JSON.parse(fs.readFileSync(path.join(process.env.NODE_PATH, name, 'package.json'))).version;
  },

  // One letter for a settled reply; what is neither OK nor AMBIGUOUS is the application's to see.
  verdict(fault, reply) {
    if (reply === 'OK') return 'o';
    if (fault?.message.startsWith('AMBIGUOUS')) return 'a';
    throw fault ?? new Error(`unexpected reply ${reply}`);
  },

  // A writer, given what sends DEPTH pairs of key and value at once and resolves to a list of [fault, reply].
  async write(number, setAll) {
    for (let first = 0; !report.over; first += report.DEPTH) {
      const sequences = Array.from({ length: report.DEPTH }, (_, step) => first + step);
      report.say('sent', number, report.DEPTH);
      const replies = await setAll(sequences.map((sequence) => [`w:${number}:${sequence}`, `${sequence}`]));
      report.say('got', number, replies.map(([fault, reply]) => report.verdict(fault, reply)).join(''));
    }
  },

  async transact(step) {
    while (!report.over) {
      try {
        await step();
        report.say('transaction', 'o');
      } catch (fault) {
        report.say('transaction', report.verdict(fault));
      }
    }
  },

  async work(pop) {
    for (let job = ''; job !== 'last'; ) {
      job = await pop();
      report.say('job', job);
    }
  },

  // A subscriber: resolves when the listener that `start` is given has heard the last message.
  listen(start) {
    return new Promise((resolve, reject) => {
      const hear = (text) => {
        report.say('heard', text);
        if (text === 'after') resolve();
      };
      Promise.resolve(start(hear)).catch(reject);
    });
  },

  // Concurrent calls in place of a pipeline.
  async together(calls) {
    const settled = await Promise.allSettled(calls);
    return settled.map(({ reason, value }) => [reason, value]);
  },

  fail(role) {
    return (fault) => report.say('exception', `${role}: ${fault?.name}: ${fault?.message}`);
  },

  async run(main) {
    process.stdin.on('end', () => { report.over = true; }).resume();
    try {
      await main();
      process.exit(0);
    } catch (fault) {
      report.fail('main')(fault);
      process.exit(1);
    }
  },
};

module.exports = report;
