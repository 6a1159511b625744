/* The resume point: the place of the last published event in the upstream's stream. A successor of this sender asks the
 * upstream to continue there. The ring publishes it as its note, together with the tail. */
#include <string.h>

#include "inbox/inbox.h"

#define SELECT_LENGTH 6u

/* The database of the SELECT command at `payload`; -1 for any other frame. */
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

/* kr_resume_note() of a rare event: a marker, a chunk, or a frame that may be SELECT. */
void kr_resume_note_rare(struct kr_note *note, const char *at)
{
    const struct kr_record *record = (const struct kr_record *)(const void *)at;
    uint64_t *words = note->words, snapshots = words[NOTE_FLAGS] & KR_RESUME_SNAPSHOTS;
    int64_t db;
    switch (record->kind) {
    case KR_KIND_FRAME:
        if ((db = selected(at + KR_RECORD_BYTES, record->length)) >= 0)
            words[NOTE_DB] = (uint64_t)db;
        kr_resume_note(note, at, 0);
        break;
    case KR_KIND_SNAPSHOT_BEGIN:
        words[NOTE_FLAGS] = snapshots | KR_RESUME_FLAG_IN_SNAPSHOT;
        break;
    case KR_KIND_SNAPSHOT_END:
        words[NOTE_OFFSET] = record->offset;
        words[NOTE_DB] = 0;
        words[NOTE_FLAGS] = (snapshots + KR_RESUME_SNAPSHOT) | KR_RESUME_FLAG_KNOWN | KR_RESUME_FLAG_AFTER_SNAPSHOT;
        break;
    default:
        break;
    }
}

/* The overflow is empty: every later event belongs to the history that was named last. Called before the publish if the last
 * event of the overflow belongs to it, and else after the publish: the offset of one history never goes with the id of another. */
void kr_resume_drained(struct kr_sender *sender)
{
    if (sender->id_waits)
        memcpy(sender->producer.note.words + NOTE_ID, sender->next_id, sizeof sender->next_id);
    sender->id_waits = 0;
}

/* Names the history of all later events. `id`: at most 64 bytes; `db`: the database that is selected at its start. While
 * events of another history wait in the overflow, it is not known which history the tail belongs to. Then the resume point
 * has no id, and a successor starts with a full sync. */
int kr_sender_set_upstream(kr_sender *sender, const char *id, uint64_t length, uint64_t db)
{
    struct kr_producer *producer = &sender->producer;
    uint64_t given[KR_RESUME_ID_WORDS] = {0}, *words = producer->note.words, *present = words + NOTE_ID;
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    if (length > sizeof given)
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    memcpy(given, id, length);
    if (!words[NOTE_FLAGS])
        words[NOTE_DB] = db; /* later each SELECT changes it */
    if (!memcmp(given, sender->id_waits ? sender->next_id : present, sizeof given))
        return kr_producer_leave(producer, 0);
    sender->id_waits = sender->overflow.events != 0;
    memcpy(sender->next_id, given, sizeof given);
    if (sender->id_waits)
        memset(present, 0, sizeof given);
    else
        memcpy(present, given, sizeof given);
    return kr_producer_leave(producer, 0);
}

/* The point of the published tail, also while the sender is sending. */
void kr_map_resume(kr_map *map, kr_resume_point *out)
{
    struct kr_note found;
    kr_note_look(map->header, &found);
    out->offset = found.words[NOTE_OFFSET];
    out->db = found.words[NOTE_DB];
    out->flags = (uint32_t)(found.words[NOTE_FLAGS] % KR_RESUME_SNAPSHOT);
    out->snapshots = found.words[NOTE_FLAGS] / KR_RESUME_SNAPSHOT;
    memcpy(out->upstream_id, found.words + NOTE_ID, sizeof out->upstream_id);
}
