<?php
// Predis, Debian's. It never tries again.

require 'Predis/autoload.php';
require __DIR__ . '/report.php';

function connect(): Predis\Client
{
    // 60 s, unless told otherwise, also for what waits for ever.
    return new Predis\Client(['host' => HOST, 'port' => PORT, 'read_write_timeout' => -1]);
}

// EVALSHA, and EVAL where the script is not known.
class Add extends Predis\Command\ScriptCommand
{
    protected function getKeysCount()
    {
        return 1;
    }

    public function getScript()
    {
        return ADD;
    }
}

function script(Predis\Client $client): string
{
    $client->getProfile()->defineCommand('add', 'Add');
    return (string) $client->add('script', 7);
}

$roles = [];
for ($number = 0; $number < WRITERS; $number++) {
    $roles["writer $number"] = function () use ($number) {
        $client = new Predis\Client(['host' => HOST, 'port' => PORT], ['exceptions' => false]);
        write($number, function (array $pairs) use ($client) {
            $replies = $client->pipeline(function ($pipeline) use ($pairs) {
                foreach ($pairs as $key => $value) {
                    $pipeline->set($key, $value);
                }
            });
            $letter = fn ($reply) => $reply instanceof Predis\Response\ErrorInterface
                ? verdict(false, $reply->getMessage())
                : verdict((string) $reply === 'OK', null);
            return implode('', array_map($letter, $replies));
        });
    };
}
$roles['transactions'] = function () {
    $client = connect();
    while (!over()) {
        try {
            $client->transaction(function ($transaction) {
                $transaction->incr('counter');
                $transaction->get('counter');
            });
            say('transaction', 'o');
        } catch (Predis\Response\ServerException $fault) {
            say('transaction', verdict(false, $fault->getMessage()));
        }
    }
};
$roles['subscriber'] = function () {
    $loop = connect()->pubSubLoop(['subscribe' => 'news']);
    foreach ($loop as $message) {
        if ($message->kind === 'message' && !hear($message->payload)) {
            $loop->stop();
        }
    }
};
$roles['worker'] = function () {
    $client = connect();
    work(fn () => $client->blpop(['jobs'], 0)[1]);
};

guarded('main', function () use ($roles) {
    $client = connect();
    say('client', 'predis', Predis\Client::VERSION);
    say('script', script($client));
    play($roles);
    $found = new Predis\Collection\Iterator\Keyspace($client, 'w:0:*', 500);
    say('scanned', iterator_count($found));
    say('script', script($client));
}) || exit(1);
