/* Feeds changed copies of files to a harness, where libFuzzer is absent: `mutate_NAME RUNS SEED MOST FILE|DIRECTORY ...`. It
 * measures no coverage. An input that fails is left in build/failed-input. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hostile_ring.h"

#define SEEDS_MAX 4096

struct seed {
    uint8_t *bytes;
    size_t size;
};

void __sanitizer_set_death_callback(void (*callback)(void));

static struct seed seeds[SEEDS_MAX], current;
static unsigned count;
static uint64_t state;

static uint64_t below(uint64_t most)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return most ? (state >> 11) % most : 0;
}

static void save(void)
{
    FILE *file = fopen("build/failed-input", "wb");
    if (file) {
        fwrite(current.bytes, 1, current.size, file);
        fclose(file);
    }
}

static void save_at_abort(int number) { save(); }

static void read_seeds(const char *path)
{
    struct stat info;
    MUST(!stat(path, &info));
    if (!S_ISDIR(info.st_mode)) {
        FILE *file = fopen(path, "rb");
        struct seed *seed = seeds + count++;
        MUST(file && count < SEEDS_MAX);
        seed->size = (size_t)info.st_size;
        seed->bytes = malloc(seed->size + 1);
        MUST(fread(seed->bytes, 1, seed->size, file) == seed->size);
        fclose(file);
        return;
    }
    struct dirent **entries;
    int found = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            read_seeds(inner);
        free(entries[i]);
    }
    free(entries);
}

/* Changes `bytes`, which has room for `most`. Returns the new size. */
static size_t change(uint8_t *bytes, size_t size, size_t most)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xf4, 0xfe, 0xff};
    const struct seed *other = seeds + below(count);
    size_t at = below(size), length = 1 + below(16);
    switch (below(7)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1:
        bytes[at] = telling[below(sizeof telling)];
        return size;
    case 2:
        bytes[at] = (uint8_t)below(256);
        return size;
    case 3: /* something goes */
        length = length < size - at ? length : size - at;
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 4: /* something comes twice */
        length = length < size - at ? length : size - at;
        if (size + length > most)
            return size;
        memmove(bytes + at + length, bytes + at, size - at);
        return size + length;
    case 5: /* something comes from another seed */
        length = 1 + below(200);
        length = length < other->size ? length : other->size;
        length = length < size - at ? length : size - at;
        memcpy(bytes + at, other->bytes + below(other->size - length + 1), length);
        return size;
    default:
        bytes[at] = (uint8_t)(bytes[at] + below(9) - 4);
        return size;
    }
}

int main(int argc, char **argv)
{
    MUST(argc > 4);
    uint64_t runs = strtoull(argv[1], NULL, 10);
    size_t most = strtoull(argv[3], NULL, 10);
    state = strtoull(argv[2], NULL, 10) * 2654435761u + 1;
    for (int i = 4; i < argc; i++)
        read_seeds(argv[i]);
    MUST(count);
    __sanitizer_set_death_callback(save); /* of a fault; a property that does not hold aborts */
    signal(SIGABRT, save_at_abort);
    for (uint64_t run = 0; run < runs; run++) {
        const struct seed *seed = seeds + below(count);
        uint8_t *room = malloc(most + 1);
        size_t size = seed->size < most ? seed->size : most;
        memcpy(room, seed->bytes, size);
        for (uint64_t times = 1 + below(8); times && size; times--)
            size = change(room, size, most);
        current = (struct seed){malloc(size ? size : 1), size}; /* of exactly this size, for sanitizers */
        memcpy(current.bytes, room, size);
        free(room);
        LLVMFuzzerTestOneInput(current.bytes, current.size);
        free(current.bytes);
    }
    printf("%s: %llu inputs from %u seeds\n", argv[0], (unsigned long long)runs, count);
    return 0;
}
