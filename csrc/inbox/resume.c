/* The resume point: what the last published event stands for in the upstream's stream, so that whoever takes the
 * producer's role over can ask the upstream to go on behind it.
 *
 * It must belong to the tail that a successor finds, wherever the producer died. So there are two slots, written in
 * turn before each store of tail and stamped with that tail: a death between the two stores leaves the other slot,
 * which bears the tail that stands. */
#include <string.h>

#include "ring/ring.h"

#define KIND_BEGIN 1u
#define KIND_END 3u
#define KIND_FRAME 4u
#define SELECT_LENGTH 6u
#define LOOKS_MAX 1000u

/* The database of a SELECT command that lies at `payload`; -1 for any other frame. */
static int64_t selected(const char *payload, uint64_t length)
{
    uint32_t words[3];
    uint64_t db = 0, digits = length - sizeof words - SELECT_LENGTH;
    if (length < KR_SELECT_BYTES_MIN || length > KR_SELECT_BYTES_MAX)
        return -1;
    memcpy(words, payload, sizeof words);
    if (words[0] != 2 || words[1] != SELECT_LENGTH)
        return -1;
    for (unsigned i = 0; i < SELECT_LENGTH; i++)
        if ((payload[sizeof words + i] & ~0x20) != "SELECT"[i])
            return -1;
    for (const char *at = payload + sizeof words + SELECT_LENGTH; digits; digits--, at++) {
        if (*at < '0' || *at > '9')
            return -1;
        db = db * 10 + (uint64_t)(*at - '0');
    }
    return (int64_t)db;
}

/* kr_resume_note() of what is rare. */
void kr_resume_note_rare(struct kr_resume *resume, const char *at)
{
    const struct kr_record *record = (const struct kr_record *)(const void *)at;
    switch (record->kind) {
    case KIND_FRAME: {
        int64_t db = selected(at + KR_RECORD_BYTES, record->length);
        if (db >= 0)
            resume->db = (uint64_t)db;
        kr_resume_frame(resume, record->offset);
        break;
    }
    case KIND_BEGIN:
        resume->flags = (resume->flags & KR_RESUME_SNAPSHOTS) | KR_RESUME_IN_SNAPSHOT;
        break;
    case KIND_END:
        resume->offset = record->offset;
        resume->db = 0;
        resume->flags = (resume->flags & KR_RESUME_SNAPSHOTS) + KR_RESUME_SNAPSHOT;
        resume->flags |= KR_RESUME_KNOWN | KR_RESUME_AFTER_SNAPSHOT;
        break;
    default:
        break;
    }
}

/* Before each store of tail. `drained`: nothing waits behind the ring. */
void kr_resume_write(struct kr_resume *resume, struct kr_header *header, uint64_t tail, int drained)
{
    struct kr_resume_slot *slot = &header->resume[resume->turn];
    if (!resume->flags)
        return; /* records of bytes, which stand for nothing upstream */
    if (resume->id_waits && drained) {
        memcpy(resume->id, resume->next_id, sizeof resume->id);
        resume->id_waits = 0;
    }
    /* Released for who looks while the producer lives, see kr_map_resume(): a successor needs the stamp alone. */
    store_release(&slot->offset, resume->offset);
    store_release(&slot->flags, resume->flags);
    store_release(&slot->db, resume->db);
    for (unsigned i = 0; i < KR_RESUME_ID_WORDS; i++)
        store_release(&slot->upstream_id[i], resume->id[i]);
    KR_POINT(5);
    /* Pairs with the acquire load in kr_resume_find(): who finds the stamp finds what it stands for. */
    store_release(&slot->stamp, tail);
    resume->turn ^= 1;
}

/* What a predecessor left at `tail`, if it left anything. */
void kr_resume_find(struct kr_resume *resume, const struct kr_header *header, uint64_t tail)
{
    memset(resume, 0, sizeof *resume);
    for (unsigned turn = 0; turn < 2; turn++) {
        const struct kr_resume_slot *slot = &header->resume[turn];
        if (load_acquire(&slot->stamp) != tail || !load_acquire(&slot->flags))
            continue;
        resume->offset = load_acquire(&slot->offset);
        resume->flags = load_acquire(&slot->flags);
        resume->db = load_acquire(&slot->db);
        for (unsigned i = 0; i < KR_RESUME_ID_WORDS; i++)
            resume->id[i] = load_acquire(&slot->upstream_id[i]);
        resume->turn = turn ^ 1;
    }
}

/* The history that what is sent from now on belongs to; `id`: at most 64 bytes; `db`: selected at its start. While events
 * of another history wait behind the ring, it is not known which one the tail belongs to: the point then says so, and a
 * successor starts afresh. */
int kr_producer_set_upstream(kr_producer *producer, const char *id, uint64_t length, uint64_t db)
{
    uint64_t words[KR_RESUME_ID_WORDS] = {0};
    int refused = kr_producer_enter(producer);
    struct kr_resume *resume = &producer->resume;
    if (refused)
        return refused;
    if (length > sizeof words)
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    memcpy(words, id, length);
    if (!resume->flags)
        resume->db = db; /* later it is followed event by event */
    if (!memcmp(words, resume->id_waits ? resume->next_id : resume->id, sizeof words))
        return kr_producer_leave(producer, 0);
    resume->id_waits = producer->overflow.events != 0;
    memcpy(resume->next_id, words, sizeof words);
    if (resume->id_waits)
        memset(resume->id, 0, sizeof resume->id);
    else
        memcpy(resume->id, words, sizeof words);
    return kr_producer_leave(producer, 0);
}

/* The point as it stands for the published tail, also while the producer goes on. A slot is written anew only after tail
 * has moved, and whoever loads a word of the new point then finds tail moved: so what was read is whole when tail still
 * stands where it stood. A producer that publishes all the time is looked at so often and no more: nothing is known then. */
void kr_map_resume(kr_map *map, kr_resume_point *out)
{
    struct kr_resume found;
    uint64_t tail = load_acquire(&map->header->tail), again;
    for (unsigned look = 0; look < LOOKS_MAX; look++, tail = again) {
        kr_resume_find(&found, map->header, tail);
        if ((again = load_acquire(&map->header->tail)) == tail)
            break;
        memset(&found, 0, sizeof found);
    }
    out->offset = found.offset;
    out->db = found.db;
    out->flags = (uint32_t)(found.flags % KR_RESUME_SNAPSHOT);
    out->snapshots = found.flags / KR_RESUME_SNAPSHOT;
    memcpy(out->upstream_id, found.id, sizeof out->upstream_id);
}
