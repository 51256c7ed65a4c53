// node-redis, one connection for what need not have its own; it is told not to come back.
'use strict';

const { createClient } = require('redis');
const report = require('./report');

const { host, port, say } = report;

async function connect(name) {
  const client = createClient({ socket: { host, port, reconnectStrategy: false } });
  client.on('error', report.fail(name));
  client.on('end', () => say('exception', `${name}: connection closed`));
  await client.connect();
  return client;
}

report.run(async () => {
  const client = await connect('main');
  const sha = await client.scriptLoad(report.ADD);
  // As the documentation has it: EVALSHA, and EVAL where the script is not known.
  const add = async () => {
    const options = { keys: ['script'], arguments: ['7'] };
    try {
      return await client.evalSha(sha, options);
    } catch (fault) {
      if (!fault.message.startsWith('NOSCRIPT')) throw fault;
      return client.eval(report.ADD, options);
    }
  };
  say('client', 'node-redis', report.version('redis'));
  say('script', await add());
  const roles = [];
  for (let number = 0; number < report.WRITERS; number += 1) {
    roles.push(report.write(number, (pairs) => report.together(pairs.map(([key, value]) => client.set(key, value)))));
  }
  roles.push(report.transact(() => client.multi().incr('counter').get('counter').exec()));
  const [subscriber, worker] = [await connect('subscriber'), await connect('worker')];
  roles.push(report.listen((hear) => subscriber.subscribe('news', hear)));
  roles.push(report.work(async () => (await worker.blPop('jobs', 0)).element));
  await Promise.all(roles);
  let scanned = 0;
  // A key at a time in version 4, a page at a time in version 5.
  for await (const found of client.scanIterator({ MATCH: 'w:0:*', COUNT: 500 })) scanned += [found].flat().length;
  say('scanned', scanned);
  say('script', await add());
});
