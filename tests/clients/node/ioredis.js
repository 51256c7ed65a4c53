// ioredis. A connection is told not to come back and a request not to be repeated, so that nothing is hidden by a second try.
'use strict';

const Redis = require('ioredis');
const report = require('./report');

const { host, port, say } = report;

function connect(name) {
  const client = new Redis({ host, port, retryStrategy: null, maxRetriesPerRequest: 0 });
  client.on('error', report.fail(name));
  client.on('close', () => say('exception', `${name}: connection closed`));
  client.defineCommand('addTo', { numberOfKeys: 1, lua: report.ADD });
  return client;
}

report.run(async () => {
  const client = connect('main');
  say('client', 'ioredis', report.version('ioredis'));
  say('script', await client.addTo('script', 7));
  const roles = [];
  for (let number = 0; number < report.WRITERS; number += 1) {
    const own = connect(`writer ${number}`);
    roles.push(report.write(number, (pairs) => {
      const pipeline = own.pipeline();
      pairs.forEach(([key, value]) => pipeline.set(key, value));
      return pipeline.exec();
    }));
  }
  const transactions = connect('transactions');
  roles.push(report.transact(() => transactions.multi().incr('counter').get('counter').exec()));
  roles.push(report.listen((hear) => {
    const subscriber = connect('subscriber');
    subscriber.on('message', (_channel, text) => hear(text));
    return subscriber.subscribe('news');
  }));
  const worker = connect('worker');
  roles.push(report.work(async () => (await worker.blpop('jobs', 0))[1]));
  await Promise.all(roles);
  let scanned = 0;
  for await (const keys of client.scanStream({ match: 'w:0:*', count: 500 })) scanned += keys.length;
  say('scanned', scanned);
  say('script', await client.addTo('script', 7));
});
