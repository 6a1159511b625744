/* The walk over a key, a value or another record. It decodes nothing. It stops only between two steps, or inside the bytes of a string,
 * and continues there. */
#include "rdb/walk.h"

#include <string.h>

#define NEEDS_MORE 0
#define TAKEN 1
#define HASH_WITH_EXPIRIES 24

void kr_rdb_walk_begin(struct kr_rdb *reader, const char *steps, int in_parts)
{
    reader->step = steps;
    reader->depth = 0;
    reader->skip = 0;
    reader->elements = 0;
    reader->in_parts = in_parts;
    reader->from = reader->upto = reader->at;
}

static const unsigned char *here(const struct kr_rdb *reader) { return reader->block + reader->at; }
static const unsigned char *end(const struct kr_rdb *reader) { return reader->block + reader->size; }

/* Steps over the bytes of a string as far as they have come. */
static int skip_bytes(struct kr_rdb *reader)
{
    uint64_t come = reader->size - reader->at, bytes = reader->skip < come ? reader->skip : come;
    reader->at += bytes;
    reader->skip -= bytes;
    if (reader->mark == 0 && reader->in_parts) {
        reader->upto = reader->at;
        reader->elements += bytes;
    }
    return reader->skip ? NEEDS_MORE : TAKEN;
}

static int take_length(struct kr_rdb *reader, uint64_t *length)
{
    int bytes = kr_rdb_length(here(reader), end(reader), length);
    if (bytes <= 0)
        return bytes ? KR_E_RDB_LENGTH : NEEDS_MORE;
    reader->at += (uint64_t)bytes;
    return TAKEN;
}

/* Takes the head of the string that begins `ahead` bytes further on. */
static int take_string(struct kr_rdb *reader, uint64_t ahead)
{
    struct kr_rdb_string string;
    int bytes = kr_rdb_string_head(here(reader) + ahead, end(reader), &string);
    if (bytes <= 0)
        return bytes ? KR_E_RDB_STRING : NEEDS_MORE;
    if (string.stored > KR_LENGTH_MAX || string.plain > KR_LENGTH_MAX)
        return KR_E_RDB_LENGTH;
    reader->at += ahead + (uint64_t)bytes;
    reader->skip = string.stored;
    if (reader->phase == VALUE && reader->mark == 0 && string.code == KR_RDB_PLAIN) {
        reader->in_parts = 1; /* its bytes are its elements */
        reader->from = reader->at;
    }
    return TAKEN;
}

/* One opcode of a module and what it announces, which are taken together. `ended`: it was the last one. */
static int take_opcode(struct kr_rdb *reader, int *ended)
{
    uint64_t opcode, number;
    int bytes = kr_rdb_length(here(reader), end(reader), &opcode), more;
    *ended = 0;
    if (bytes <= 0)
        return bytes ? KR_E_RDB_LENGTH : NEEDS_MORE;
    switch (opcode) {
    case 0:
        *ended = 1;
        break;
    case 1: /* a signed, or an unsigned number */
    case 2:
        if ((more = kr_rdb_length(here(reader) + bytes, end(reader), &number)) <= 0)
            return more ? KR_E_RDB_LENGTH : NEEDS_MORE;
        bytes += more;
        break;
    case 3: /* a float, or a double */
    case 4:
        reader->skip = opcode == 3 ? 4 : 8;
        break;
    case 5:
        return take_string(reader, (uint64_t)bytes);
    default:
        return KR_E_RDB_MODULE;
    }
    reader->at += (uint64_t)bytes;
    return TAKEN;
}

/* The step behind the loop that begins at `step`. */
static const char *behind(const char *step)
{
    int open = 0;
    do {
        open += *step == '[';
        open -= *step == ']';
    } while (*step++ != ']' || open);
    return step;
}

static int begin_loop(struct kr_rdb *reader)
{
    uint64_t count;
    int taken = take_length(reader, &count);
    if (taken != TAKEN)
        return taken;
    if (reader->depth == 0)
        reader->from = reader->upto = reader->at;
    if (reader->depth == 0 && reader->mark == HASH_WITH_EXPIRIES && reader->flavour == KR_RDB_REDIS)
        reader->next.expiry_base_ms = (int64_t)kr_rdb_little(reader->block + reader->begin, 8);
    if (!count) {
        reader->step = behind(reader->step);
        return TAKEN;
    }
    reader->step += 2;
    reader->loops[reader->depth++] = (struct kr_rdb_loop){reader->step, count};
    return TAKEN;
}

static void end_turn(struct kr_rdb *reader)
{
    struct kr_rdb_loop *loop = &reader->loops[reader->depth - 1];
    if (reader->depth == 1 && reader->in_parts) {
        reader->elements++;
        reader->upto = reader->at;
    }
    if (--loop->left) {
        reader->step = loop->body;
    } else {
        reader->depth--;
        reader->step++;
    }
}

static int take_step(struct kr_rdb *reader)
{
    uint64_t number;
    int taken = TAKEN, ended = 1;
    switch (*reader->step) {
    case 's':
        taken = take_string(reader, 0);
        break;
    case 'l':
        taken = take_length(reader, &number);
        break;
    case 'd':
        if (reader->at == reader->size)
            return NEEDS_MORE;
        number = *here(reader);
        reader->at++;
        reader->skip = number < 253 ? number : 0;
        break;
    case 'm':
        taken = take_opcode(reader, &ended);
        break;
    case '*':
        return begin_loop(reader);
    case ']':
        end_turn(reader);
        return TAKEN;
    default:
        reader->skip = *reader->step == 'g' ? 16 : (uint64_t)(*reader->step - '0');
    }
    if (taken == TAKEN && ended)
        reader->step++;
    return taken;
}

int kr_rdb_walk(struct kr_rdb *reader)
{
    for (;;) {
        if (reader->skip && skip_bytes(reader) == NEEDS_MORE)
            return NEEDS_MORE;
        if (!*reader->step)
            return 1;
        int taken = take_step(reader);
        if (taken != TAKEN)
            return taken;
    }
}
