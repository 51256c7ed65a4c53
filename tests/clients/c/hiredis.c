/* hiredis, blocking, a process for each role; it never tries again. README.md has the contract. */

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WRITERS = 6, DEPTH = 4, LINE = 512 };
#define ADD "return redis.call('INCRBY', KEYS[1], ARGV[1])"

static const char *host;
static int port;

/* One line in one write, so that those of processes do not mix. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char line[LINE];
    va_list words;
    va_start(words, format);
    int length = vsnprintf(line, sizeof line - 1, format, words);
    va_end(words);
    if (length < 0) exit(1);
    if (length > LINE - 2) length = LINE - 2;
    line[length] = '\n';
    if (write(STDOUT_FILENO, line, length + 1) < 0) exit(1);
}

static void fail(const char *role, const char *fault) {
    say("exception %s: %s", role, fault);
    exit(1);
}

static redisContext *dial(void) {
    redisContext *context = redisConnect(host, port);
    if (context == NULL || context->err) fail("connect", context ? context->errstr : "no memory");
    return context;
}

/* The next reply; a connection that ended is the application's to see. */
static redisReply *reply_of(redisContext *context, const char *role) {
    void *reply;
    if (redisGetReply(context, &reply) != REDIS_OK) fail(role, context->errstr);
    return reply;
}

/* One letter for a reply that is good, or AMBIGUOUS. */
static char verdict(const redisReply *reply, int type, const char *role) {
    if (reply->type == type) return 'o';
    if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "AMBIGUOUS", 9) != 0)
        fail(role, reply->str ? reply->str : "unexpected reply");
    return 'a';
}

/* Whether standard input has ended; nothing ever comes there. */
static int over(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static void writer(int number) {
    redisContext *context = dial();
    for (int first = 0; !over(); first += DEPTH) {
        char letters[DEPTH + 1] = {0};
        for (int step = 0; step < DEPTH; step++)
            redisAppendCommand(context, "SET w:%d:%d %d", number, first + step, first + step);
        say("sent %d %d", number, DEPTH);
        for (int step = 0; step < DEPTH; step++) {
            redisReply *reply = reply_of(context, "writer");
            letters[step] = verdict(reply, REDIS_REPLY_STATUS, "writer");
            freeReplyObject(reply);
        }
        say("got %d %s", number, letters);
    }
    redisFree(context);
}

static void transactions(int unused) {
    (void)unused;
    const char *requests[] = {"MULTI", "INCR counter", "GET counter", "EXEC"};
    redisContext *context = dial();
    while (!over()) {
        char letter = 'o';
        for (int step = 0; step < 4; step++) redisAppendCommand(context, requests[step]);
        for (int step = 0; step < 4; step++) {
            redisReply *reply = reply_of(context, "transactions");
            if (verdict(reply, step == 3 ? REDIS_REPLY_ARRAY : REDIS_REPLY_STATUS, "transactions") == 'a') letter = 'a';
            freeReplyObject(reply);
        }
        say("transaction %c", letter);
    }
    redisFree(context);
}

static void subscriber(int unused) {
    (void)unused;
    redisContext *context = dial();
    redisAppendCommand(context, "SUBSCRIBE news");
    for (int last = 0; !last;) {
        redisReply *reply = reply_of(context, "subscriber");
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) fail("subscriber", "no message");
        if (strcmp(reply->element[0]->str, "message") == 0) {
            say("heard %s", reply->element[2]->str);
            last = strcmp(reply->element[2]->str, "after") == 0;
        }
        freeReplyObject(reply);
    }
    redisFree(context);
}

static void worker(int unused) {
    (void)unused;
    redisContext *context = dial();
    for (int last = 0; !last;) {
        redisAppendCommand(context, "BLPOP jobs 0");
        redisReply *reply = reply_of(context, "worker");
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) fail("worker", reply->str ? reply->str : "no job");
        say("job %s", reply->element[1]->str);
        last = strcmp(reply->element[1]->str, "last") == 0;
        freeReplyObject(reply);
    }
    redisFree(context);
}

/* EVALSHA, and EVAL where the script is not known. */
static void script(redisContext *context, const char *sha) {
    redisReply *reply = redisCommand(context, "EVALSHA %s 1 script 7", sha);
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        freeReplyObject(reply);
        reply = redisCommand(context, "EVAL %s 1 script 7", ADD);
    }
    if (reply == NULL) fail("script", context->errstr);
    if (reply->type != REDIS_REPLY_INTEGER) fail("script", reply->str ? reply->str : "no number");
    say("script %lld", reply->integer);
    freeReplyObject(reply);
}

static void scan(redisContext *context) {
    size_t found = 0;
    char cursor[32] = "0";
    do {
        redisReply *reply = redisCommand(context, "SCAN %s MATCH w:0:* COUNT 500", cursor);
        if (reply == NULL) fail("scan", context->errstr);
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) fail("scan", reply->str ? reply->str : "no page");
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        found += reply->element[1]->elements;
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
    say("scanned %zu", found);
}

static void play(void (*role)(int), int number) {
    if (fork() != 0) return;
    role(number);
    exit(0);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    host = words[1];
    port = atoi(words[2]);
    redisContext *context = dial();
    say("client hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    redisReply *sha = redisCommand(context, "SCRIPT LOAD %s", ADD);
    if (sha == NULL || sha->type != REDIS_REPLY_STRING) fail("script", "SCRIPT LOAD failed");
    script(context, sha->str);
    for (int number = 0; number < WRITERS; number++) play(writer, number);
    play(transactions, 0);
    play(subscriber, 0);
    play(worker, 0);
    while (wait(NULL) > 0) continue;
    scan(context);
    script(context, sha->str);
    freeReplyObject(sha);
    redisFree(context);
    return 0;
}
