<?php
// The words of tests/clients/README.md, for the scripts in PHP: a process for each role, as PHP has no threads.

const WRITERS = 6;
const DEPTH = 4;
const ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
define('HOST', $argv[1]);
define('PORT', (int) $argv[2]);

// One line in one write, so that those of processes do not mix.
function say(...$words): void
{
    fwrite(STDOUT, strtr(implode(' ', $words), "\n", ' ') . "\n");
}

// Whether standard input has ended; nothing ever comes there.
function over(): bool
{
    [$read, $write, $except] = [[STDIN], null, null];
    return stream_select($read, $write, $except, 0) > 0;
}

// One letter for a reply; what is neither good nor AMBIGUOUS is the application's to see.
function verdict(bool $good, ?string $fault): string
{
    if ($good) {
        return 'o';
    }
    if ($fault !== null && str_starts_with($fault, 'AMBIGUOUS')) {
        return 'a';
    }
    throw new RuntimeException($fault ?? 'unexpected reply');
}

// A writer, given what sends pairs of key and value at once and returns the letters of the replies.
function write(int $number, callable $setAll): void
{
    for ($first = 0; !over(); $first += DEPTH) {
        $pairs = [];
        for ($sequence = $first; $sequence < $first + DEPTH; $sequence++) {
            $pairs["w:$number:$sequence"] = (string) $sequence;
        }
        say('sent', $number, DEPTH);
        say('got', $number, $setAll($pairs));
    }
}

// Hears one message; false: it was the last.
function hear(string $text): bool
{
    say('heard', $text);
    return $text !== 'after';
}

// A worker, given what waits for the next job.
function work(callable $pop): void
{
    do {
        $job = $pop();
        say('job', $job);
    } while ($job !== 'last');
}

// Plays a role, and tells whatever it throws.
function guarded(string $role, callable $play): bool
{
    try {
        $play();
        return true;
    } catch (Throwable $fault) {
        say('exception', "$role:", get_class($fault) . ':', $fault->getMessage());
        return false;
    }
}

// Plays the roles, by name, at the same time.
function play(array $roles): void
{
    $children = [];
    foreach ($roles as $role => $play) {
        $child = pcntl_fork();
        if ($child === 0) {
            exit(guarded($role, $play) ? 0 : 1);
        }
        $children[] = $child;
    }
    foreach ($children as $child) {
        pcntl_waitpid($child, $status);
    }
}
