/* libmodbus as its users run it on many devices: a thread and a connection for each, blocking reads, values scaled.
 *
 * usage: libmodbus_client SECONDS ADDRESS COUNT SCALE PORT...
 * Prints one JSON object: what was read, in which time, at which cost, and a checksum over the first values.
 */
#include <modbus.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static int address, count;
static double scale, started, warm_until, until, cpu_before;
static pthread_barrier_t gate;

struct device { int port; unsigned long requests; double checksum, sink; int failed; };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void *poll_device(void *argument) {
    struct device *device = argument;
    uint16_t registers[125];
    modbus_t *line = modbus_new_tcp("127.0.0.1", device->port);
    modbus_set_slave(line, 1);
    modbus_set_response_timeout(line, 10, 0); /* as all others: 500 threads on one core may wait longer than half a second */
    device->failed = modbus_connect(line) != 0 || modbus_read_registers(line, address, count, registers) != count;
    for (int i = 0; !device->failed && i < count; i++) device->checksum += (i % 97 + 1) * (registers[i] * scale);
    pthread_barrier_wait(&gate); /* all are connected */
    pthread_barrier_wait(&gate); /* the clock runs */
    while (!device->failed) {
        double now = seconds();
        if (now >= until) break;
        if (modbus_read_registers(line, address, count, registers) != count) { device->failed = 1; break; }
        for (int i = 0; i < count; i++) device->sink += registers[i] * scale;
        if (now >= warm_until) device->requests++;
    }
    modbus_close(line);
    modbus_free(line);
    return NULL;
}

int main(int arguments, char **argument) {
    if (arguments < 6) return 2;
    double measured_s = atof(argument[1]), warm_up_s = measured_s / 4;
    address = atoi(argument[2]);
    count = atoi(argument[3]);
    scale = atof(argument[4]);
    int devices = arguments - 5;
    struct device *all = calloc(devices, sizeof *all);
    pthread_t *threads = calloc(devices, sizeof *threads);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_barrier_init(&gate, NULL, devices + 1);
    for (int i = 0; i < devices; i++) {
        all[i].port = atoi(argument[5 + i]);
        if (pthread_create(&threads[i], &small, poll_device, &all[i])) return 1;
    }
    pthread_barrier_wait(&gate);
    started = seconds();
    warm_until = started + warm_up_s;
    until = warm_until + measured_s;
    pthread_barrier_wait(&gate);
    struct timespec warm_up = {.tv_sec = (time_t)warm_up_s, .tv_nsec = (long)((warm_up_s - (time_t)warm_up_s) * 1e9)};
    nanosleep(&warm_up, NULL);
    cpu_before = cpu();
    for (int i = 0; i < devices; i++) pthread_join(threads[i], NULL);
    double used_s = cpu() - cpu_before, checksum = 0;
    unsigned long requests = 0;
    int failed = 0;
    for (int i = 0; i < devices; i++) {
        requests += all[i].requests;
        checksum += (i % 89 + 1) * all[i].checksum;
        failed += all[i].failed;
    }
    printf("{\"wall_s\": %.6f, \"cpu_s\": %.6f, \"requests\": %lu, \"points\": %lu, \"checksum\": %.9f, \"bad\": %d}\n",
           measured_s, used_s, requests, requests * count, checksum, failed);
    return failed ? 1 : 0;
}
