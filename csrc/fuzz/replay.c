/* Feeds files to a harness without a fuzzer: `replay_NAME FILE|DIRECTORY ...`. The memory of each input has exactly its size. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hostile_ring.h"

static unsigned long inputs;

static void feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    MUST(file && !fseek(file, 0, SEEK_END));
    size_t size = (size_t)ftell(file);
    uint8_t *bytes = malloc(size ? size : 1);
    rewind(file);
    MUST(fread(bytes, 1, size, file) == size);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    inputs++;
}

static void feed(const char *path)
{
    struct stat info;
    if (stat(path, &info)) {
        perror(path);
        exit(2);
    }
    if (!S_ISDIR(info.st_mode)) {
        feed_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            feed(inner);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        feed(argv[i]);
    printf("%s: %lu inputs\n", argv[0], inputs);
    return inputs ? 0 : 2;
}
