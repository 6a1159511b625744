/* From the wire to the ring in one call: writes a run of RESP frames as records.
 *
 *   kevy    *2 :<offset> *<n> ($<len> <bytes>) x n         the offset counts frames and must be the next one
 *   redis   *<n> ($<len> <bytes>) x n                      the offset counts bytes, up to the end of the command
 *
 * The scanner reads only plain frames in canonical form. It stops at the first other byte. The protocol module, which is the
 * one description of the protocol, continues from there: it handles control lines, state changes and errors. */
#include <stdlib.h>
#include <string.h>

#include "inbox/encode.h"
#include "inbox/inbox.h"
#include "wire/canonical.h"

#define OFFSET_MAX INT64_MAX
#define ARGS_AT_FIRST 64u
#define DIGITS_MAX 19
#define PLAIN_SLACK 1280 /* the most bytes that plain_frame() reads or writes for one argument of up to KR_SHORT_MAX */

enum { OK = 1, NEED = 0, OTHER = -1, NOMEM = -2 };

/* How far the scan of an unfinished frame has come. Positions count from the frame's first byte. */
struct kr_scanner {
    uint64_t *starts;
    uint32_t *lengths;
    uint32_t room;
    uint32_t argc, args; /* arguments announced, and complete */
    uint64_t cursor;
    uint64_t offset, total;
    int stage; /* 0: nothing read yet, 1: the arguments are being read */
};

kr_scanner *kr_scanner_new(void)
{
    struct kr_scanner *scanner = calloc(1, sizeof *scanner);
    if (!scanner)
        return NULL;
    scanner->room = ARGS_AT_FIRST;
    scanner->starts = malloc(scanner->room * sizeof *scanner->starts);
    scanner->lengths = malloc(scanner->room * sizeof *scanner->lengths);
    if (scanner->starts && scanner->lengths)
        return scanner;
    kr_scanner_free(scanner);
    return NULL;
}

void kr_scanner_free(kr_scanner *scanner)
{
    free(scanner->starts);
    free(scanner->lengths);
    free(scanner);
}

/* Drops the unfinished frame: the next call begins with another one. */
void kr_scanner_reset(kr_scanner *scanner) { scanner->stage = 0; }

/* Makes room as arguments arrive, not as they are announced: a peer cannot claim memory with a number. */
static int grow(struct kr_scanner *scanner)
{
    uint32_t room = scanner->room * 2;
    uint64_t *starts = realloc(scanner->starts, room * sizeof *starts);
    if (starts)
        scanner->starts = starts;
    uint32_t *lengths = starts ? realloc(scanner->lengths, room * sizeof *lengths) : NULL;
    if (!lengths)
        return NOMEM;
    scanner->lengths = lengths;
    scanner->room = room;
    return OK;
}

/* A number in canonical decimal form (no sign, no leading zero) and CRLF. */
static inline int decimal(const char **at, const char *end, uint64_t limit, uint64_t *out)
{
    const char *p = *at, *first = p;
    uint64_t value = 0;
    unsigned digit;
    while (p < end && (digit = (unsigned)(unsigned char)*p - '0') <= 9) {
        value = value * 10 + digit;
        if (++p - first > DIGITS_MAX)
            return OTHER;
    }
    if (p == end)
        return NEED;
    if (p == first || (*first == '0' && p - first > 1) || value > limit || *p != '\r')
        return OTHER;
    if (end - p < 2)
        return NEED;
    if (p[1] != '\n')
        return OTHER;
    *at = p + 2;
    *out = value;
    return OK;
}

static inline int byte(const char **at, const char *end, char wanted)
{
    if (*at == end)
        return NEED;
    if (**at != wanted)
        return OTHER;
    ++*at;
    return OK;
}

static int frame_head(struct kr_scanner *scanner, const char **at, const char *end, int with_offset)
{
    uint64_t number;
    int read;
    if ((read = byte(at, end, '*')) != OK)
        return read;
    if (with_offset) {
        if ((read = decimal(at, end, 2, &number)) != OK)
            return read;
        if (number != 2)
            return OTHER;
        if ((read = byte(at, end, ':')) != OK || (read = decimal(at, end, OFFSET_MAX, &scanner->offset)) != OK ||
            (read = byte(at, end, '*')) != OK)
            return read;
    }
    if ((read = decimal(at, end, KR_ARGUMENTS_MAX, &number)) != OK)
        return read;
    if (number == 0)
        return OTHER;
    scanner->argc = (uint32_t)number;
    scanner->args = 0;
    scanner->total = 0;
    return OK;
}

static inline int argument(struct kr_scanner *scanner, const char *frame, const char **at, const char *end)
{
    const char *p = *at;
    uint64_t length;
    int read;
    if ((read = byte(&p, end, '$')) != OK || (read = decimal(&p, end, KR_ARGUMENT_MAX, &length)) != OK)
        return read;
    if ((uint64_t)(end - p) < length + 2)
        return scanner->total + length > KR_COMMAND_MAX ? OTHER : NEED;
    if (p[length] != '\r' || p[length + 1] != '\n' || scanner->total + length > KR_COMMAND_MAX)
        return OTHER;
    if (scanner->args == scanner->room && (read = grow(scanner)) != OK)
        return read;
    scanner->starts[scanner->args] = (uint64_t)(p - frame);
    scanner->lengths[scanner->args++] = (uint32_t)length;
    scanner->total += length;
    *at = p + length + 2;
    return OK;
}

/* Reads the frame at `frame` as far as there are bytes. An unfinished one continues where it stopped. */
static int read_frame(struct kr_scanner *scanner, const char *frame, const char *end, int with_offset, const char **stopped)
{
    const char *at = frame + (scanner->stage ? scanner->cursor : 0);
    int read = OK;
    *stopped = at;
    if (at > end) /* fewer bytes than last time */
        return NEED;
    if (!scanner->stage) {
        if ((read = frame_head(scanner, &at, end, with_offset)) != OK) {
            *stopped = at;
            return read;
        }
        scanner->stage = 1;
    }
    while (scanner->args < scanner->argc && (read = argument(scanner, frame, &at, end)) == OK)
        ;
    scanner->cursor = (uint64_t)(at - frame);
    *stopped = at;
    return read;
}

/* Commands that the protocol module handles: state, keep-alives and requests for an acknowledgement. */
static inline int is_control(const char *name, uint64_t length)
{
    static const struct { const char *name; uint32_t length; } controls[] = {{"PING", 4}, {"SELECT", 6}, {"REPLCONF", 8}};
    for (unsigned i = 0; i < sizeof controls / sizeof *controls; i++) {
        uint32_t same = 0;
        if (length != controls[i].length)
            continue;
        while (same < length && (name[same] & ~0x20) == controls[i].name[same])
            same++;
        if (same == length)
            return 1;
    }
    return 0;
}

/* The common case in one pass: a complete frame of a few short arguments, into a ring with room. It takes only frames that
 * are certainly right. For any other it returns NULL and has done nothing.
 * It copies arguments 16 bytes at a time. Each copy may write too far: over the place that is written next, or at the end
 * into free space.
 * `head`: the beginning of a kevy frame with the next offset; NULL: Redis. Returns the byte behind the frame. */
static inline const char *plain_frame(struct kr_sender *sender, const char *frame, const char *end, const struct kr_head *head, uint64_t *offset)
{
    struct kr_producer *producer = &sender->producer;
    const char *number = frame + (head ? head->length : 1), *from = number + 3;
    if (end - frame < PLAIN_SLACK || (head ? !kr_head_is_at(head, frame) : *frame != '*'))
        return NULL;
    uint64_t argc = kr_one_digit(number), room = producer->capacity - (producer->staged - producer->head_cache);
    if (!argc || room < PLAIN_SLACK || sender->overflow.events || producer->reserved)
        return NULL;
    char *at = kr_producer_at(producer, producer->staged);
    struct kr_frame_writer to = kr_frame_open(at, argc);
    const char *last = end - PLAIN_SLACK;
    uint64_t most = room - PLAIN_SLACK;
    for (uint64_t i = 1; i <= argc; i++) {
        uint64_t length;
        unsigned read = kr_bulk_head(from, &length);
        const char *bytes = from + read;
        if (!read || !kr_crlf_is_at(bytes + length) || (i == 1 && !head && is_control(bytes, length)))
            return NULL;
        kr_frame_put_over(&to, i - 1, bytes, length);
        from = bytes + length + 2;
        if ((from > last || to.done > most) && i < argc)
            return NULL;
    }
    uint64_t length = kr_frame_bytes(argc, to.done), span = kr_record_span(length);
    *offset = head ? head->offset : *offset + (uint64_t)(from - frame);
    kr_record_header(at, length, KR_KIND_FRAME, 0, *offset);
    kr_clear_padding(at, length);
    kr_resume_note(&producer->note, at, 0);
    producer->staged += span;
    producer->staged_events++;
    KR_POINT(3);
    if (most > KR_AHEAD_BYTES + span)
        kr_expect_writes(at + KR_AHEAD_BYTES, span);
    return from;
}

static int write_frame(struct kr_sender *sender, const struct kr_scanner *scanner, const char *frame, uint64_t offset)
{
    struct kr_producer *producer = &sender->producer;
    uint64_t length = kr_frame_bytes(scanner->argc, scanner->total);
    int in_ring;
    char *at = kr_place(sender, kr_record_span(length), &in_ring);
    if (!at || producer->gone)
        return producer->gone ? producer->gone : KR_E_NOMEM;
    kr_encode_header(at, KR_KIND_FRAME, offset, length);
    struct kr_frame_writer to = kr_frame_open(at, scanner->argc);
    for (uint32_t i = 0; i < scanner->argc; i++)
        kr_frame_put(&to, i, frame + scanner->starts[i], scanner->lengths[i]);
    if (in_ring)
        kr_resume_note(&producer->note, at, 1);
    return 0;
}

static int why_it_stopped(int read, int at_end, int kevy)
{
    if (read == NEED || at_end)
        return KR_SCAN_NEED;
    return read == OK && kevy ? KR_SCAN_GAP : KR_SCAN_OTHER;
}

static inline int scan(kr_sender *sender, kr_scanner *scanner, const char *bytes, uint64_t length, uint64_t offset, int kevy, kr_scan *out)
{
    struct kr_producer *producer = &sender->producer;
    const char *at = bytes, *end = bytes + length, *stopped = bytes, *behind;
    struct kr_head head;
    int failed = kr_producer_enter(producer), read = NEED;
    memset(out, 0, sizeof *out);
    if (failed)
        return failed;
    kr_head_make(&head, offset);
    while (at < end) {
        uint64_t own = kevy ? offset : offset + (uint64_t)(at - bytes);
        read = OK;
        if (!scanner->stage && (behind = plain_frame(sender, at, end, kevy ? &head : NULL, &own))) {
            stopped = behind;
        } else if ((read = read_frame(scanner, at, end, kevy, &stopped)) != OK) {
            break;
        } else {
            scanner->stage = 0;
            if (kevy ? scanner->offset != offset : is_control(at + scanner->starts[0], scanner->lengths[0]))
                break;
            own = kevy ? offset : offset + (uint64_t)(stopped - bytes);
            if ((failed = write_frame(sender, scanner, at, own)))
                break;
        }
        at = stopped;
        out->frames++;
        out->last_offset = own;
        if (kevy)
            kr_head_follow(&head, ++offset);
        /* In steps, so that the other side can work while this one continues. */
        if (producer->staged - producer->tail >= producer->capacity / 8)
            kr_producer_publish_locked(producer);
    }
    out->consumed = (uint64_t)(at - bytes);
    out->stopped_at = (uint64_t)(stopped - bytes);
    out->why = why_it_stopped(read, at == end, kevy);
    scanner->stage &= out->why == KR_SCAN_NEED; /* the protocol reads an unfinished frame that is not plain */
    int sent = kr_finish(sender); /* also after a failure: the frames before it were taken */
    return failed ? failed : read == NOMEM ? KR_E_NOMEM : sent;
}

int kr_scan_kevy(kr_sender *sender, kr_scanner *scanner, const char *bytes, uint64_t length, uint64_t next_offset, kr_scan *out)
{
    return scan(sender, scanner, bytes, length, next_offset, 1, out);
}

int kr_scan_redis(kr_sender *sender, kr_scanner *scanner, const char *bytes, uint64_t length, uint64_t base_offset, kr_scan *out)
{
    return scan(sender, scanner, bytes, length, base_offset, 0, out);
}
