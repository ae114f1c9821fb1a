/* A crowd of Modbus TCP devices in one process, fast enough never to be what a benchmark measures.
 *
 * What a register holds follows from listener, unit and address alone (bench/field/tags.py computes the same), so every
 * contender must arrive at the same values. Written registers keep what was written. One thread, epoll; the answers of
 * a connection leave in the order of its requests, each `delay` after it came or after the one before, as on a line.
 *
 * usage: device_server PORTS DELAY_US [UNIT:DELAY_US]...     a unit with delay -1 never answers
 * Prints the ports, then answers each line on standard input with the number of requests so far; ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 1 << 14, OUT_SIZE = 1 << 16, QUEUE = 64, FLOAT_FROM = 30000, FLOAT_TO = 40000 };

struct answer { int64_t due_us; int length; uint8_t bytes[260]; };
struct peer {
    int fd, listener, in_length, out_length, first, waiting;
    uint8_t in[IN_SIZE], out[OUT_SIZE];
    struct answer *queue;
    struct peer *next_waiting;
};
struct written { uint16_t value[65536]; uint8_t known[65536]; };

static int poller;
static int64_t delay_us[256];
static unsigned long requests;
static struct written **overlays; /* listener * 256 + unit */
static struct peer *waiting_peers;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint16_t reg(uint32_t listener, uint32_t unit, uint32_t address) {
    uint32_t device = listener * 256 + unit;
    struct written *overlay = overlays[device];
    if (overlay && overlay->known[address]) return overlay->value[address];
    if (address >= FLOAT_FROM && address < FLOAT_TO) { /* pairs of registers: exact in single precision */
        float number = (float)(device % 900) + (float)((address - FLOAT_FROM) / 2) * 1.25f + 0.5f;
        uint32_t bits;
        memcpy(&bits, &number, 4);
        return (address & 1) ? bits & 0xFFFF : bits >> 16;
    }
    return ((device * 40503u + address * 30011u + 12345u) >> 3) & 0xFFFF;
}

static void store(uint32_t listener, uint32_t unit, uint32_t address, uint16_t value) {
    struct written **overlay = &overlays[listener * 256 + unit];
    if (!*overlay) *overlay = calloc(1, sizeof **overlay);
    (*overlay)->value[address] = value;
    (*overlay)->known[address] = 1;
}

/* The answer to one frame; its length. */
static int answer(struct peer *peer, const uint8_t *in, int length, uint8_t *out) {
    uint32_t unit = in[6], address = in[8] << 8 | in[9], count = length >= 12 ? in[10] << 8 | in[11] : 0;
    uint8_t function = in[7];
    int size;
    memcpy(out, in, 8);
    if ((function == 3 || function == 4) && count >= 1 && count <= 125 && address + count <= 65536) {
        out[8] = 2 * count;
        for (uint32_t i = 0; i < count; i++) {
            uint16_t value = reg(peer->listener, unit, address + i);
            out[9 + 2 * i] = value >> 8;
            out[10 + 2 * i] = value & 0xFF;
        }
        size = 3 + 2 * count;
    } else if (function == 6) {
        store(peer->listener, unit, address, count);
        memcpy(out + 8, in + 8, 4);
        size = 6;
    } else if (function == 16 && count >= 1 && count <= 123 && length >= 13 + 2 * (int)count) {
        for (uint32_t i = 0; i < count; i++)
            store(peer->listener, unit, address + i, in[13 + 2 * i] << 8 | in[14 + 2 * i]);
        memcpy(out + 8, in + 8, 4);
        size = 6;
    } else {
        out[7] = function | 0x80;
        out[8] = (function == 3 || function == 4 || function == 16) ? 2 : 1;
        size = 3;
    }
    out[4] = size >> 8;
    out[5] = size & 0xFF;
    return 6 + size;
}

static void watch(struct peer *peer, int for_output) {
    struct epoll_event event = {.events = for_output ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
}

static void flush(struct peer *peer) {
    ssize_t sent = peer->out_length ? write(peer->fd, peer->out, peer->out_length) : 0;
    if (sent <= 0) return;
    memmove(peer->out, peer->out + sent, peer->out_length - sent);
    peer->out_length -= sent;
    watch(peer, peer->out_length > 0);
}

static void hold(struct peer *peer, int64_t wait_us, const uint8_t *bytes, int length) {
    if (!peer->queue) peer->queue = calloc(QUEUE, sizeof *peer->queue);
    if (peer->waiting == QUEUE) return; /* more in flight than any gateway takes: lost */
    int64_t from = now_us();
    if (peer->waiting) {
        struct answer *last = &peer->queue[(peer->first + peer->waiting - 1) % QUEUE];
        if (last->due_us > from) from = last->due_us;
    } else {
        peer->next_waiting = waiting_peers;
        waiting_peers = peer;
    }
    struct answer *held = &peer->queue[(peer->first + peer->waiting++) % QUEUE];
    held->due_us = from + wait_us;
    held->length = length;
    memcpy(held->bytes, bytes, length);
}

static int64_t release_due(void) { /* when the next one is due, -1 for never */
    int64_t next = -1, now = now_us();
    for (struct peer **link = &waiting_peers; *link;) {
        struct peer *peer = *link;
        while (peer->waiting && peer->queue[peer->first].due_us <= now) {
            struct answer *held = &peer->queue[peer->first];
            memcpy(peer->out + peer->out_length, held->bytes, held->length);
            peer->out_length += held->length;
            peer->first = (peer->first + 1) % QUEUE;
            peer->waiting--;
        }
        flush(peer);
        if (!peer->waiting) { *link = peer->next_waiting; continue; }
        if (next < 0 || peer->queue[peer->first].due_us < next) next = peer->queue[peer->first].due_us;
        link = &peer->next_waiting;
    }
    return next;
}

static void forget(struct peer *peer) {
    for (struct peer **link = &waiting_peers; *link; link = &(*link)->next_waiting)
        if (*link == peer) { *link = peer->next_waiting; break; }
    close(peer->fd);
    free(peer->queue);
    free(peer);
}

static void serve(struct peer *peer, uint32_t events) {
    if (events & EPOLLOUT) flush(peer);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = read(peer->fd, peer->in + peer->in_length, IN_SIZE - peer->in_length);
    if (got <= 0) { forget(peer); return; }
    peer->in_length += got;
    int used = 0;
    while (peer->in_length - used >= 12 && peer->out_length < OUT_SIZE - 300) {
        const uint8_t *frame = peer->in + used;
        int length = 6 + (frame[4] << 8 | frame[5]);
        if (length < 8 || length > 260) { forget(peer); return; }
        if (peer->in_length - used < length) break;
        used += length;
        requests++;
        int64_t wait_us = delay_us[frame[6]];
        if (wait_us < 0) continue;
        uint8_t out[260];
        int size = answer(peer, frame, length, out);
        if (wait_us || peer->waiting) hold(peer, wait_us, out, size);
        else { memcpy(peer->out + peer->out_length, out, size); peer->out_length += size; }
    }
    memmove(peer->in, peer->in + used, peer->in_length - used);
    peer->in_length -= used;
    flush(peer);
}

int main(int count, char **arguments) {
    int ports = count > 1 ? atoi(arguments[1]) : 1, listeners[4096];
    if (ports < 1 || ports > 4096) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (int unit = 0; unit < 256; unit++) delay_us[unit] = count > 2 ? atoll(arguments[2]) : 0;
    for (int i = 3; i < count; i++) {
        int unit;
        long long us;
        if (sscanf(arguments[i], "%d:%lld", &unit, &us) == 2) delay_us[unit & 255] = us;
    }
    overlays = calloc((size_t)ports * 256, sizeof *overlays);
    poller = epoll_create1(0);
    for (int i = 0; i < ports; i++) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof name;
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(listeners[i], (struct sockaddr *)&name, size) || listen(listeners[i], 512)) return 1;
        getsockname(listeners[i], (struct sockaddr *)&name, &size);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 2 * (uint64_t)i + 1};
        epoll_ctl(poller, EPOLL_CTL_ADD, listeners[i], &event);
        printf("%d%c", ntohs(name.sin_port), i + 1 < ports ? ' ' : '\n');
    }
    fflush(stdout);
    struct epoll_event standard_input = {.events = EPOLLIN, .data.u64 = ~0ull};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &standard_input);
    struct epoll_event events[512];
    for (;;) {
        int64_t next = release_due(), wait = next < 0 ? -1 : next - now_us();
        struct timespec pause = {.tv_sec = wait > 0 ? wait / 1000000 : 0, .tv_nsec = wait > 0 ? wait % 1000000 * 1000 : 0};
        int ready = epoll_pwait2(poller, events, 512, next < 0 ? NULL : &pause, NULL);
        for (int i = 0; i < ready; i++) {
            uint64_t key = events[i].data.u64;
            if (key == ~0ull) {
                char line[64];
                if (read(0, line, sizeof line) <= 0) return 0;
                printf("%lu\n", requests);
                fflush(stdout);
            } else if (key & 1) { /* a listener: pointers are even */
                int fd, on = 1;
                while ((fd = accept4(listeners[key >> 1], NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    struct peer *peer = calloc(1, sizeof *peer);
                    peer->fd = fd;
                    peer->listener = key >> 1;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                }
            } else serve(events[i].data.ptr, events[i].events);
        }
    }
}
