/* fsync and fdatasync that take longer, by as many milliseconds as the file says that REDHOLD_FSYNC_DELAY names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void dawdle(void)
{
    char text[16] = {0};
    const char *path = getenv("REDHOLD_FSYNC_DELAY");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    long delay = read(file, text, sizeof text - 1) > 0 ? atol(text) : 0;
    close(file);
    struct timespec time = {delay / 1000, delay % 1000 * 1000000};
    nanosleep(&time, NULL);
}

int fsync(int file)
{
    dawdle();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    dawdle();
    return (int)syscall(SYS_fdatasync, file);
}
