<?php
// phpredis, Debian's. Trying again is switched off, so that nothing is hidden by a second try.

require __DIR__ . '/report.php';

const EXEC_TIMEOUT = 10;

function connect(): Redis
{
    $client = new Redis();
    $client->connect(HOST, PORT);
    $client->setOption(Redis::OPT_MAX_RETRIES, 0);
    // 60 s, unless told otherwise, also for what waits for ever.
    $client->setOption(Redis::OPT_READ_TIMEOUT, -1);
    return $client;
}

// A reply of error is false, and its words are the connection's.
function words(Redis $client): ?string
{
    $words = $client->getLastError();
    $client->clearLastError();
    return $words;
}

function add(Redis $client, string $sha): string
{
    $reply = $client->evalSha($sha, ['script', 7], 1);
    if ($reply === false && str_starts_with((string) words($client), 'NOSCRIPT')) {
        $reply = $client->eval(ADD, ['script', 7], 1);
    }
    return (string) $reply;
}

$roles = [];
for ($number = 0; $number < WRITERS; $number++) {
    $roles["writer $number"] = function () use ($number) {
        $client = connect();
        write($number, function (array $pairs) use ($client) {
            $pipeline = $client->pipeline();
            foreach ($pairs as $key => $value) {
                $pipeline->set($key, $value);
            }
            $replies = $pipeline->exec();
            $fault = words($client);
            return implode('', array_map(fn ($reply) => verdict($reply === true, $fault), $replies ?: [false]));
        });
    };
}
$roles['transactions'] = function () {
    while (!over()) {
        $client = connect();
        // Behind an EXEC that is answered with an error, Redis's own EXECABORT too, it waits for replies of what was queued, and gives the
        // connection up when its time-out is over. One that ends sooner was closed by somebody else.
        $client->setOption(Redis::OPT_READ_TIMEOUT, EXEC_TIMEOUT);
        try {
            while (!over()) {
                $begin = microtime(true);
                $replies = $client->multi()->incr('counter')->get('counter')->exec();
                say('transaction', verdict(is_array($replies) && is_int($replies[0]), words($client)));
            }
        } catch (RedisException $fault) {
            microtime(true) - $begin >= EXEC_TIMEOUT || throw $fault;
            say('transaction', 'a');
        }
    }
};
$roles['subscriber'] = function () {
    connect()->subscribe(['news'], function (Redis $client, string $channel, string $text) {
        // There is no way out of the loop: after UNSUBSCRIBE it waits for ever, after close() it may come back by itself, and neither
        // exit nor an exception ends it.
        hear($text) || posix_kill(getmypid(), SIGKILL);
    });
};
$roles['worker'] = function () {
    $client = connect();
    work(fn () => $client->blPop(['jobs'], 0)[1]);
};

guarded('main', function () use ($roles) {
    $client = connect();
    say('client', 'phpredis', phpversion('redis'));
    $sha = $client->script('load', ADD);
    say('script', add($client, $sha));
    play($roles);
    $client->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    [$cursor, $found] = [null, 0];
    while ($keys = $client->scan($cursor, 'w:0:*', 500)) {
        $found += count($keys);
    }
    say('scanned', $found);
    say('script', add($client, $sha));
}) || exit(1);
