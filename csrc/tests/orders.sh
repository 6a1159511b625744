#!/bin/sh
# Makes each mutant of the explorer in tests/core/test_memory_model.py in the C core, and records which tests find it: the
# thread sanitizer, the stress tests, those that move at every machine instruction, those that die at every instruction
# or numbered point. Run by `make orders`, which passes CC, COMMON, CORE and the flags of each flavour. Takes half an
# hour. Writes tests/orders.txt.
# MUTANTS: the names to make, and only their lines of orders.txt change. Empty: all.
set -u
export CHECK_SECONDS=20
table=tests/orders.txt lost=0
mkdir -p build/orders

flags_of() { eval "printf %s \"\$${1}_FLAGS\""; }

compile() { # FLAVOUR DIRECTORY: the core with the changed files of the directory
    objects=
    for part in $CORE; do
        source=$(echo ring/"$part".c* inbox/"$part".c* wire/"$part".c* | tr ' ' '\n' | grep -v '\*')
        [ -f "$2/$source" ] && source=$2/$source
        # A changed header goes before the one in its place, for every file.
        if [ "$source" = "$2/${source#"$2"/}" ] || [ -n "$(find "$2" -name '*.h')" ]; then
            $CC -I"$2" $COMMON -w $(flags_of "$1") -c -o "$2/$1-$part.o" "$source" || exit 1
            objects="$objects $2/$1-$part.o"
        else
            objects="$objects build/$1/$part.o"
        fi
    done
}

# FLAVOUR DIRECTORY TEST...: prints "yes" when one of the tests fails.
finds() {
    flavour=$1 dir=$2 still=
    shift 2
    [ "$flavour" = tsan ] && still=$STILL
    for test in "$@"; do
        support=
        case $test in steps | kills) more=stepped ;; *) more= ;; esac
        for part in $SUPPORT $more; do support="$support build/$flavour/$part.o"; done
        $CC -g $(flags_of "$flavour") -pthread -o "$dir/test_$test" "build/$flavour/test_$test.o" $support $objects -lrt -ldl || exit 1
        if ! timeout -k 2 60 $still "$dir/test_$test" >"$dir/log" 2>&1; then
            echo yes
            return
        fi
    done
    echo no
}

# mutant NAME FILE SED-SCRIPT
mutant() {
    case " ${MUTANTS:-$1} " in
    *" $1 "*) ;;
    *) return ;;
    esac
    dir=build/orders/$1
    rm -rf "$dir"
    mkdir -p "$dir"
    mkdir -p "$dir/${2%/*}"
    sed "$3" "$2" >"$dir/$2"
    if cmp -s "$2" "$dir/$2"; then
        echo "$1: the edit matches nothing in $2"
        lost=$((lost + 1))
        return
    fi
    compile tsan "$dir"
    tsan=$(LOOPS=0.3 finds tsan "$dir" threads stress)
    compile plain "$dir"
    stress=$(finds plain "$dir" stress threads)
    steps=$(finds plain "$dir" steps)
    deaths=$(finds plain "$dir" kills)
    if [ "$deaths" = no ]; then
        compile crash "$dir"
        deaths=$(finds crash "$dir" crash_points)
    fi
    [ -f "$table" ] && sed -i "/^$1 /d" "$table"
    printf '%-44s %-8s %-8s %-8s %s\n' "$1" "$tsan" "$stress" "$steps" "$deaths" | tee -a "$table"
    rm -rf "$dir"
}

# The unchanged core must pass all of them.
if [ -z "${MUTANTS:-}" ]; then
    mkdir -p build/orders/none
    for flavour in tsan plain crash; do
        compile $flavour build/orders/none
        case $flavour in
        tsan) tests="threads stress" ;;
        plain) tests="stress threads steps kills" ;;
        crash) tests=crash_points ;;
        esac
        if [ "$(LOOPS=0.3 finds $flavour build/orders/none $tests)" != no ]; then
            cat build/orders/none/log
            exit 1
        fi
    done
    printf '# mutant, found by TSan, by stress, by a move at every step, by a death at every step: made by csrc/tests/orders.sh\n' >"$table"
fi

# An order weakened.
mutant publish_relaxed ring/producer.c 's/store_seq_cst(&header->tail, producer->tail)/store_relaxed(\&header->tail, producer->tail)/'
mutant publish_no_more_than_a_release ring/producer.c 's/store_seq_cst(&header->tail, producer->tail)/store_release(\&header->tail, producer->tail)/'
mutant request_read_as_acquire ring/producer.c 's/uint64_t request = load_seq_cst(&header->data_request)/uint64_t request = load_acquire(\&header->data_request)/'
mutant drain_reads_tail_relaxed ring/consumer.c 's/load_acquire(&consumer->header->tail)/load_relaxed(\&consumer->header->tail)/'
mutant release_relaxed ring/consumer.c 's/store_seq_cst(&header->head, position)/store_relaxed(\&header->head, position)/'
mutant release_no_more_than_a_release ring/consumer.c 's/store_seq_cst(&header->head, position)/store_release(\&header->head, position)/'
mutant space_request_read_as_acquire ring/consumer.c 's/load_seq_cst(&header->space_request)/load_acquire(\&header->space_request)/'
mutant room_reads_head_relaxed ring/producer.c 's/load_acquire(&producer->header->head)/load_relaxed(\&producer->header->head)/'
mutant request_stored_relaxed ring/consumer_wait.c 's/store_seq_cst(&consumer->header->data_request/store_relaxed(\&consumer->header->data_request/'
mutant request_no_more_than_a_release ring/consumer_wait.c 's/store_seq_cst(&consumer->header->data_request/store_release(\&consumer->header->data_request/'
mutant look_reads_tail_as_acquire ring/consumer_wait.c 's/load_seq_cst(&consumer->header->tail)/load_acquire(\&consumer->header->tail)/'
mutant tend_looks_as_acquire ring/consumer_wait.c 's/load_seq_cst(&header->tail)/load_acquire(\&header->tail)/'
mutant tend_reads_the_reply_relaxed ring/consumer_wait.c 's/load_acquire(&header->data_reply)/load_relaxed(\&header->data_reply)/'
mutant reply_relaxed ring/producer.c 's/store_release(&producer->header->data_reply/store_relaxed(\&producer->header->data_reply/'
mutant space_request_no_more_than_a_release ring/producer_wait.c 's/store_seq_cst(&header->space_request/store_release(\&header->space_request/'
mutant space_looked_at_as_acquire ring/producer_wait.c 's/load_seq_cst(&header->head)/load_acquire(\&header->head)/'
mutant space_looked_at_relaxed ring/producer_wait.c 's/load_seq_cst(&header->head)/load_relaxed(\&header->head)/'
mutant claim_given_up_relaxed ring/role.c 's/store_release32(&claim->word, role->final_word)/store_relaxed32(\&claim->word, role->final_word)/'
mutant claim_read_relaxed ring/ring.h 's/load_acquire32(&peer->claim->word)/load_relaxed32(\&peer->claim->word)/'
mutant role_taken_relaxed ring/atomics.h 's/memory_order_acq_rel, memory_order_acquire/memory_order_relaxed, memory_order_relaxed/'
mutant epoch_stored_relaxed ring/role.c 's/store_release(&claim->epoch/store_relaxed(\&claim->epoch/'
mutant epoch_read_relaxed ring/peer.c 's/load_acquire(&peer->claim->epoch)/load_relaxed(\&peer->claim->epoch)/'
mutant magic_stored_relaxed ring/segment.c 's/store_release(&header->magic/store_relaxed(\&header->magic/'
mutant magic_read_relaxed ring/segment.c 's/load_acquire(&header->magic)/load_relaxed(\&header->magic)/'
mutant stamps_stored_relaxed ring/stamps.c 's/store_release(&header->stamps/store_relaxed(\&header->stamps/'
mutant times_read_tail_relaxed ring/stamps.c '/kr_map_times/,/^}/ s/load_acquire(&header->tail)/load_relaxed(\&header->tail)/'
mutant stamps_read_relaxed ring/consumer.c 's/load_acquire(&consumer->header->stamps)/load_relaxed(\&consumer->header->stamps)/'

# A step moved.
mutant tail_before_the_bytes ring/producer.c \
    '/stage_many(struct kr_producer/,/^}/ s/^\( *\)int ahead = /\1store_release(\&producer->header->tail, producer->staged + alike * span);\n&/'
mutant head_before_the_reading ring/consumer.c 's/^    consumer->drained = position;$/& store_seq_cst(\&consumer->header->head, position);/'
mutant request_read_before_tail_is_stored ring/producer.c \
    's/^    store_seq_cst(&header->tail, producer->tail);$/    uint64_t request = load_seq_cst(\&header->data_request);\n&/;s/^    uint64_t request = load_seq_cst(&header->data_request);$/    ;/'
mutant look_before_the_request ring/consumer_wait.c '/^            kr_consumer_arm(consumer);$/{N;s/\(.*\)\n\(.*\)/\2\n\1/}'
mutant look_before_the_clearing ring/consumer_wait.c 's/^            found = look(consumer);$/& kr_bell_clear(consumer->data_bell);/'
mutant empties_without_asking_anew ring/consumer_wait.c \
    's/^    kr_bell_clear(consumer->data_bell);$/& if (load_acquire(\&consumer->header->data_reply) != consumer->data_request) return;/'
mutant the_successor_trusts_the_doorbell ring/consumer_role.c '/^    kr_consumer_arm(consumer);$/d'
mutant reply_before_the_byte ring/producer.c \
    '/^    kr_bell_ring(producer->data_bell);$/{h;d};/store_release(&producer->header->data_reply, request);/G'
mutant space_looked_at_before_the_request ring/producer_wait.c \
    '/store_seq_cst(&header->space_request/d;/return producer->capacity - (producer->staged - producer->head_cache) >= wanted;/s/return \(.*\);/int fits = \1; store_seq_cst(\&header->space_request, ++producer->space_request); return fits;/'
mutant space_looked_at_before_the_clearing ring/producer_wait.c \
    's/^            ready = kr_producer_arm(producer, wanted);$/& kr_bell_clear(producer->space_bell);/'
mutant space_request_read_before_head_is_stored ring/consumer.c \
    's/^    store_seq_cst(&header->head, position);$/    uint64_t request = load_seq_cst(\&header->space_request);\n&/;s/^    uint64_t request = load_seq_cst(&header->space_request);$/    ;/'
mutant wanted_behind_the_request ring/producer_wait.c \
    '/store_relaxed(&header->space_wanted/{h;d};/store_seq_cst(&header->space_request/G'
mutant claim_after_the_tail ring/consumer_wait.c \
    's/^    int gone = kr_consumer_gone(consumer);$/    uint64_t seen = load_seq_cst(\&consumer->header->tail); &/;s/load_seq_cst(&consumer->header->tail) != consumer->drained/seen != consumer->drained/'
mutant closed_before_the_last_publish ring/producer_role.c \
    '/^    if (!producer->gone)$/{N;h;d};/kr_role_release(&producer->role, KR_ROLE_CLOSED);$/{/^    /G}'
mutant epoch_before_the_pid ring/role.c '/^    store_release32(&claim->pid, pid);$/{h;d};/^    store_release(&claim->epoch/G'
mutant magic_before_the_geometry ring/segment.c '/^    store_release(&header->magic, KR_MAGIC);$/d;s/^    header->version = KR_VERSION;$/    store_release(\&header->magic, KR_MAGIC);\n&/'
mutant tail_before_the_resume_point ring/producer.c '/^    if (producer->note.words/,/^    }/{H;d};/^    store_seq_cst(&header->tail, producer->tail);$/G'
mutant one_slot_for_the_resume_point ring/producer.c 's/^        producer->note.turn ^= 1;$/        ;/'
mutant the_successor_writes_the_slot_it_found ring/note.c 's/note->turn = turn ^ 1;/note->turn = turn;/'
mutant head_before_the_stamps_are_counted ring/consumer.c \
    '/^    if (consumer->stamps_made != consumer->stamps)/{N;s/^/    store_seq_cst(\&header->head, position);\n/}'
mutant tail_before_the_stamp ring/producer.c \
    '/^    if (producer->events_in >= producer->stamp_due)$/{N;s/^/    store_seq_cst(\&header->tail, producer->tail);\n/}'
mutant a_successor_does_not_ring ring/producer_role.c '/^static int begin/,/^}/ s/^    kr_producer_ring_data_bell(producer, .*$/    ;/'

rm -rf build/orders
[ "$lost" = 0 ]
