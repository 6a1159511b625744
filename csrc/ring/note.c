/* The note: facts about the last published record that must survive the producer's death. The layer above writes them.
 *
 * The note must belong to the tail that a successor finds, wherever the producer died. So there are two slots.
 * kr_producer_publish_locked() writes them in turn, before each store of tail, and stamps each with that tail. A death
 * between the two stores leaves the other slot, which has the stamp of the tail that is still published. */
#include <string.h>

#include "ring/ring.h"

#define LOOKS_MAX 1000u

/* The note that a predecessor left at `tail`; all words 0 if it left none. */
void kr_note_find(struct kr_note *note, const struct kr_header *header, uint64_t tail)
{
    memset(note, 0, sizeof *note);
    for (unsigned turn = 0; turn < 2; turn++) {
        const struct kr_note_slot *slot = &header->note[turn];
        if (load_acquire(&slot->stamp) != tail || !load_acquire(&slot->words[KR_NOTE_MARK]))
            continue;
        for (unsigned i = 0; i < KR_NOTE_WORDS; i++)
            note->words[i] = load_acquire(&slot->words[i]);
        note->turn = turn ^ 1;
    }
}

/* The note of the published tail, while the producer may be publishing. The producer writes a slot again only after it has
 * moved tail. A reader that loads a word of the new note then finds tail moved. So the words are whole if tail is the same
 * after the reading. The number of looks is bounded: if the producer publishes all the time, all words are 0. */
void kr_note_look(const struct kr_header *header, struct kr_note *out)
{
    uint64_t tail = load_acquire(&header->tail), again;
    for (unsigned look = 0; look < LOOKS_MAX; look++, tail = again) {
        kr_note_find(out, header, tail);
        if ((again = load_acquire(&header->tail)) == tail)
            return;
    }
    memset(out, 0, sizeof *out);
}
